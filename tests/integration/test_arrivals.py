"""However a study arrives, it ends in exactly the results that the contract says: none lost, doubled or misnamed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from ichor.catalogue.records import StudyDetail
from tests.integration.arrivals import ArrivalNode, Head, renamed, small_head
from tests.peers.mllp import MllpServer
from tests.peers.programs import wait_until
from tests.peers.recording import RecordingScp
from tests.peers.redis import RedisServer
from tests.peers.webhook import WebhookServer
from worker.retraction import REGISTRATION_CORRECTED

pytestmark = pytest.mark.integration

Steps = Callable[[ArrivalNode, list[Dataset]], None]
CALLED = [("haemorrhage_suspected", "ACC-1")]


@pytest.fixture(scope="module")
def head(test_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Head:
    return small_head(test_data_dir / "ge-hispeed-tilt", tmp_path_factory.mktemp("head"))


@pytest.fixture(scope="module")
def node() -> Iterator[ArrivalNode]:
    """One node for all patterns: each brings studies of its own."""
    with TemporaryDirectory(prefix="ichor-") as name:
        folder = Path(name)
        redis, pacs, webhook, ris = RedisServer(folder), RecordingScp(), WebhookServer(), MllpServer()
        peers: tuple[RedisServer | RecordingScp | WebhookServer | MllpServer, ...] = (redis, pacs, webhook, ris)
        for peer in peers:
            peer.start()
        try:
            with ArrivalNode(folder, redis.url, pacs, webhook, ris) as running:
                yield running
        finally:
            for peer in peers[::-1]:
                peer.stop()


def one_association(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send(slices)


def one_for_each_slice(node: ArrivalNode, slices: list[Dataset]) -> None:
    for ds in slices:
        node.send([ds])
        node.pause()


def split(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send(slices[:11])
    node.pause()
    node.send(slices[11:])


def every_second_first(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send(slices[::2])
    node.pause()
    node.send(slices[1::2])


def backwards(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send(slices[::-1])


def in_any_order(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send(random.Random(4).sample(slices, len(slices)))


def every_slice_twice(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send([ds for ds in slices for _ in range(2)])


def all_again_afterwards(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send(slices)
    node.quiet()
    node.send(slices)


def with_a_screen_capture(node: ArrivalNode, slices: list[Dataset]) -> None:
    report = copy.deepcopy(slices[0])
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    report.SeriesInstanceUID, report.Modality = generate_uid(), "OT"
    node.send(slices)
    node.quiet()
    with node.sender.association((report.SOPClassUID,)) as association:
        assert association.send_c_store(report).Status == 0x0000


def localizers_first(node: ArrivalNode, slices: list[Dataset]) -> None:
    scouts = copy.deepcopy(slices[:2])
    series_uid = generate_uid()
    for ds in scouts:
        ds.SeriesInstanceUID, ds.SOPInstanceUID = series_uid, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    node.send(scouts)
    node.settle()
    node.work()
    node.send(slices)


def registered_again_before_it_settled(node: ArrivalNode, slices: list[Dataset]) -> None:
    node.send(renamed(slices, PatientID="P-0", AccessionNumber="ACC-0"))
    node.pause()
    node.send(slices)


@pytest.mark.parametrize(
    "arrive",
    [
        one_association,
        one_for_each_slice,
        split,
        every_second_first,
        backwards,
        in_any_order,
        every_slice_twice,
        all_again_afterwards,
        with_a_screen_capture,
        localizers_first,
        registered_again_before_it_settled,
    ],
)
def test_ends_in_one_published_result(node: ArrivalNode, head: Head, arrive: Steps) -> None:
    """One result of all slices, in the name that the images carry, and one alert."""
    slices = head.series()
    before = len(node.webhook.received)
    arrive(node, slices)
    node.quiet()
    (said,) = results_of(node.detail(slices))
    assert said == Said("suspected", 28, "P-1", "ACC-1", standing=True)
    assert node.alerts(before) == CALLED
    assert_all_in_the_archive(node, slices)


@dataclass(frozen=True)
class Said:
    """What one result said, of how many slices, and in whose name, as the object that people open has it."""

    what: str
    slices: int
    patient_id: str
    accession_number: str
    standing: bool


def results_of(detail: StudyDetail) -> list[Said]:
    """Read the results of a study back from their summaries."""
    said = []
    for result in detail.results:
        summary = next(item for item in result.objects if item.kind == "summary")
        header = pydicom.dcmread(summary.path, stop_before_pixels=True)
        values = json.loads(result.summary_json)
        what = values["conclusion"] or ",".join(reason["code"] for reason in values["reasons"])
        said.append(
            Said(
                what,
                values["source_instances"],
                header.PatientID,
                header.AccessionNumber,
                standing=result.superseded_by_id is None,
            )
        )
        assert header.StudyInstanceUID == detail.study.study_instance_uid
        names = {str(pydicom.dcmread(item.path, stop_before_pixels=True).PatientID) for item in result.objects}
        assert names == {header.PatientID}
    return said


def assert_all_in_the_archive(node: ArrivalNode, slices: list[Dataset]) -> None:
    """Every delivery of the study is proven, and no object has had two contents."""
    assert {delivery.state for delivery in node.detail(slices).deliveries} == {"confirmed"}
    assert node.pacs.second_contents() == {}


def events_of(node: ArrivalNode, slices: list[Dataset]) -> list[str]:
    return [event.name for event in node.detail(slices).events]


def test_interleaved_series_end_in_one_result(node: ArrivalNode, head: Head) -> None:
    """Two series, slice by slice in turn: the one that is preferred is analysed, once."""
    soft = head.series(SeriesNumber=2)
    thick = head.series(study=soft[0].StudyInstanceUID, SeriesNumber=3)
    before = len(node.webhook.received)
    node.send([ds for pair in zip(soft, thick, strict=True) for ds in pair])
    node.quiet()
    assert [(said.what, said.slices) for said in results_of(node.detail(soft))] == [("suspected", 28)]
    assert node.alerts(before) == CALLED


def test_two_studies_over_one_association_end_in_one_result_each(node: ArrivalNode, head: Head) -> None:
    """Slices of two patients in turn stay apart."""
    first, second = head.series(), head.series(PatientID="P-9", AccessionNumber="ACC-9")
    node.send([ds for pair in zip(first, second, strict=True) for ds in pair])
    node.quiet()
    for slices, patient_id in ((first, "P-1"), (second, "P-9")):
        assert [(said.slices, said.patient_id) for said in results_of(node.detail(slices))] == [(28, patient_id)]


def test_late_slices_supersede(node: ArrivalNode, head: Head) -> None:
    """Slices after the result make a second one, which replaces the first."""
    slices = head.series()
    before = len(node.webhook.received)
    node.send(slices[:-3])
    node.quiet()
    node.send(slices[-3:])
    node.quiet()
    assert [(said.slices, said.standing) for said in results_of(node.detail(slices))] == [(25, False), (28, True)]
    assert [event for event, _ in node.alerts(before)] == ["haemorrhage_suspected", "corrected"]


def test_a_study_that_is_completed_late_is_analysed_late(node: ArrivalNode, head: Head) -> None:
    """Too little for an analysis is said when the study is quiet; the rest makes it good."""
    slices = head.series()
    node.send(slices[:3])
    node.quiet()
    node.send(slices[3:])
    node.quiet()
    first, second = results_of(node.detail(slices))
    assert (first.what, first.standing) == ("too_few_slices,short_scan", False)
    assert (second.what, second.slices, second.standing) == ("suspected", 28, True)


def test_bone_first_is_replaced_by_the_better_series(node: ArrivalNode, head: Head) -> None:
    """A sharp reconstruction that settles first never stands in the way of the soft one."""
    bone = head.series(ConvolutionKernel="BONE")
    soft = head.series(study=bone[0].StudyInstanceUID)
    node.send(bone)
    node.settle()
    node.work()
    node.send(soft)
    node.quiet()
    standing = [said for said in results_of(node.detail(bone)) if said.standing]
    assert [(said.what, said.slices) for said in standing] == [("suspected", 28)]
    series = {json.loads(row.summary_json)["series_instance_uid"] for row in node.detail(bone).results[-1:]}
    assert series == {soft[0].SeriesInstanceUID}


def test_own_objects_that_come_back_change_nothing(node: ArrivalNode, head: Head) -> None:
    """An archive that routes our results back starts nothing."""
    slices = head.series()
    node.send(slices)
    node.quiet()
    before = node.detail(slices)
    for item in before.results[0].objects:
        ds = pydicom.dcmread(item.path)
        with node.sender.association((ds.SOPClassUID,)) as association:
            assert association.send_c_store(ds).Status == 0x0000
    node.quiet()
    assert node.detail(slices) == before


def test_other_pixels_under_a_known_uid_are_put_aside_and_shown(node: ArrivalNode, head: Head) -> None:
    """The first image stays and is analysed; the second lies in the quarantine, and the study says so."""
    slices = head.series()
    other = renamed(slices[5:6])
    other[0].PixelData = bytes(len(other[0].PixelData))
    node.send(slices)
    node.send(other)
    node.quiet()
    assert [(said.patient_id, said.slices) for said in results_of(node.detail(slices))] == [("P-1", 28)]
    (event,) = [event for event in node.detail(slices).events if event.name == "instance_conflict"]
    assert (event.detail["difference"], event.detail["calling_ae"]) == ("pixels", "SCANNER")
    quarantined = list((node.settings.data_dir / "quarantine").glob(f"{slices[5].SOPInstanceUID}.*"))
    assert len(quarantined) == 1


WITHDRAWN = REGISTRATION_CORRECTED.code


def test_a_corrected_patient_gets_the_result_and_the_wrong_one_loses_it(node: ArrivalNode, head: Head) -> None:
    """Both versions are kept; the old name's result and alert are withdrawn, and new ones issued in the new name."""
    slices = head.series()
    before, told = len(node.webhook.received), len(node.ris.messages)
    node.send(slices)
    node.quiet()
    corrected = renamed(slices)
    node.send(corrected)
    node.quiet()
    assert results_of(node.detail(slices)) == [
        Said("suspected", 28, "P-1", "ACC-1", standing=False),
        Said(WITHDRAWN, 28, "P-1", "ACC-1", standing=False),
        Said("suspected", 28, "P-2", "ACC-2", standing=True),
    ]
    assert node.alerts(before) == [*CALLED, ("withdrawn", "ACC-1"), ("haemorrhage_suspected", "ACC-2")]
    detail = node.detail(slices)
    assert (detail.study.patient_id, detail.study.state, detail.study.instance_count) == ("P-2", "analysed", 28)
    assert len(list((node.settings.data_dir / "spool" / slices[0].StudyInstanceUID).rglob("*.dcm"))) == 56
    to_archive = {delivery.result_id for delivery in detail.deliveries if delivery.destination == "pacs"}
    assert to_archive == {detail.results[0].id, detail.results[2].id}  # nothing more in the old name
    assert_all_in_the_archive(node, slices)
    assert node.told_ris(told) == [("P-1", False), ("P-1", True), ("P-2", False)]
    # The uncorrected images come once more, as from a second archive: nothing flips back, and the study says so.
    node.send(slices)
    node.quiet()
    assert [said.patient_id for said in results_of(node.detail(slices))] == ["P-1", "P-1", "P-2"]
    assert node.detail(slices).study.patient_id == "P-2"
    wait_until(lambda: events_of(node, slices).count("outdated_version_received") == 28, timeout_s=60)


def test_half_a_correction_never_mixes_two_patients(node: ArrivalNode, head: Head) -> None:
    """While some slices still carry the old name, only those of the new one are looked at, in the new name."""
    slices = head.series()
    before = len(node.webhook.received)
    node.send(slices)
    node.quiet()
    corrected = renamed(slices)
    node.send(corrected[:15])
    node.quiet()
    halfway = results_of(node.detail(slices))
    assert halfway[1] == Said(WITHDRAWN, 15, "P-1", "ACC-1", standing=False)
    assert halfway[2].slices == 15
    assert halfway[2].patient_id == "P-2"
    node.send(corrected[15:])
    node.quiet()
    assert results_of(node.detail(slices))[-1] == Said("suspected", 28, "P-2", "ACC-2", standing=True)
    assert all(said.patient_id == "P-2" for said in results_of(node.detail(slices))[2:])
    assert node.alerts(before)[-1][1] == "ACC-2"


def test_a_correction_that_is_taken_back_ends_in_the_first_name(node: ArrivalNode, head: Head) -> None:
    """First patient, second patient, first again: the result that stands speaks in the first name, as a new one."""
    slices = head.series()
    node.send(slices)
    node.quiet()
    node.send(renamed(slices))
    node.quiet()
    back = renamed(slices, PatientName="First^Name", PatientID="P-1", AccessionNumber="ACC-1", StationName="PACS")
    node.send(back)
    node.quiet()
    said = results_of(node.detail(slices))
    assert [(one.what, one.patient_id) for one in said] == [
        ("suspected", "P-1"),
        (WITHDRAWN, "P-1"),
        ("suspected", "P-2"),
        (WITHDRAWN, "P-2"),
        ("suspected", "P-1"),
    ]
    assert [one.standing for one in said] == [False, False, False, False, True]
    assert node.pacs.second_contents() == {}


def test_images_that_move_to_another_study_take_the_result_with_them(node: ArrivalNode, head: Head) -> None:
    """The old study says that its result is withdrawn, in the archive too; the new one gets its own."""
    slices = head.series()
    before = len(node.webhook.received)
    node.send(slices)
    node.quiet()
    moved = renamed(slices, StudyInstanceUID=generate_uid())
    node.send(moved)
    node.quiet()
    assert results_of(node.detail(slices)) == [
        Said("suspected", 28, "P-1", "ACC-1", standing=False),
        Said(WITHDRAWN, 28, "P-1", "ACC-1", standing=True),
    ]
    assert node.detail(slices).study.state == "not_analysed"
    assert_all_in_the_archive(node, slices)
    assert results_of(node.detail(moved)) == [Said("suspected", 28, "P-2", "ACC-2", standing=True)]
    assert sorted(node.alerts(before)) == sorted([*CALLED, ("withdrawn", "ACC-1"), ("haemorrhage_suspected", "ACC-2")])


def test_what_waits_to_be_sent_in_a_wrong_name_is_not_sent(node: ArrivalNode, head: Head) -> None:
    """A correction that comes while the archive and the receiver are down stops what was said in the old name."""
    slices = head.series()
    before, stored = len(node.webhook.received), set(node.pacs.stored)
    node.send(slices)
    node.settle()
    node.work_on("analyse")
    node.send(renamed(slices))
    assert {delivery.state for delivery in node.detail(slices).deliveries} == {"withdrawn"}
    node.quiet()
    assert node.alerts(before) == [("haemorrhage_suspected", "ACC-2")]
    new = node.pacs.stored - stored
    first, *_, last = node.detail(slices).results
    assert new.isdisjoint(item.sop_instance_uid for item in first.objects)
    assert new <= {item.sop_instance_uid for item in last.objects}
