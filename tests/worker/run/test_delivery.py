from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from console.listing import report_of
from ichor.catalogue import outbox, results
from ichor.catalogue.records import DeliveryRow, NewDelivery, NewObject, NewResult
from ichor.errors import NotResendable, RowNotFound
from ichor.identity import derive_uid
from tests.painting import PaintedSeries
from tests.peers.certificates import make_certificates
from tests.peers.orthanc import Orthanc
from tests.peers.programs import free_port, wait_until
from tests.peers.recording import RecordingScp
from tests.peers.storescp import Storescp
from tests.worker.run.node import QUICK_JOBS, Node

KINDS = {
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
    "sr": "1.2.840.10008.5.1.4.1.1.88.33",
    "summary": "1.2.840.10008.5.1.4.1.1.7",
}


def destination(peer: Any, **options: Any) -> dict[str, Any]:
    port = peer.dicom_port if isinstance(peer, Orthanc) else peer.port
    return {"name": "pacs", "host": peer.host, "port": port, "ae_title": peer.ae_title, "timeout_s": 5.0, **options}


def write_object(path: Path, study_instance_uid: str, kind: str) -> NewObject:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(KINDS[kind])
    meta.MediaStorageSOPInstanceUID = UID(derive_uid(kind, secrets.token_hex(8)))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.PatientName = "MARKED-ID", "Marked^Patient"
    dataset.StudyInstanceUID = study_instance_uid
    dataset.SeriesInstanceUID = derive_uid("series", meta.MediaStorageSOPInstanceUID)
    dataset.Modality = {"seg": "SEG", "sr": "SR", "summary": "OT"}[kind]
    dataset.save_as(path, enforce_file_format=True)
    return NewObject(
        kind=kind,
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        sop_class_uid=KINDS[kind],
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def publish_three(node: Node, bleed: PaintedSeries, kinds: tuple[str, ...] = tuple(KINDS)) -> NewResult:
    """Record a result of three small objects, of which those of `kinds` go to destination `pacs`."""
    study = node.file(bleed.paths[:1])
    folder = node.settings.results_dir / "three"
    folder.mkdir(parents=True)
    objects = tuple(write_object(folder / f"{kind}.dcm", study, kind) for kind in KINDS)
    new = NewResult(
        result_uid=derive_uid("result", study),
        identity_digest="0" * 64,
        study_instance_uid=study,
        job_id=None,
        input_version=1,
        status="analysed",
        conclusion="none_marked",
        summary_json="{}",
        directory=folder,
        model_digest="",
        provisional=False,
        supersedes_id=None,
        objects=objects,
        deliveries=(NewDelivery(destination="pacs", kinds=kinds),),
        alerts=(),
    )
    with node.catalogue.write() as session:
        results.record_result(session, new)
    return new


def the_delivery(node: Node, new: NewResult) -> DeliveryRow:
    (delivery,) = node.detail(new.study_instance_uid).deliveries
    return delivery


def test_the_stored_bytes_arrive_and_are_proven(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """Each object once, byte for byte, and `confirmed` only after a query found it."""
    node = make_node(destinations=(destination(recording_scp),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert delivery.state == "confirmed"
    assert {item.state for item in delivery.objects} == {"confirmed"}
    assert {item.status_code for item in delivery.objects} == {0}
    assert recording_scp.finds == 3
    assert sorted(recording_scp.contents) == sorted(item.sop_instance_uid for item in new.objects)
    assert all(len(sums) == 1 for sums in recording_scp.contents.values())
    assert node.drain("deliver") == 0


@pytest.mark.integration
def test_orthanc_keeps_the_very_bytes(make_node: Callable[..., Node], orthanc: Orthanc, bleed: PaintedSeries) -> None:
    """A PACS of other people's making takes the objects and shows them to a query."""
    node = make_node(destinations=(destination(orthanc),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "confirmed"
    assert set(orthanc.instances()) == {item.sop_instance_uid for item in new.objects}


@pytest.mark.integration
def test_a_peer_without_query_leaves_it_unproven(
    make_node: Callable[..., Node], storescp: Storescp, bleed: PaintedSeries
) -> None:
    """Arrival that nobody can prove stays `sent`, and the study's page says why."""
    node = make_node(destinations=(destination(storescp),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert delivery.state == "sent"
    assert "no query" in delivery.error
    assert len(storescp.files()) == 3
    assert node.drain("deliver") == 0


def test_a_site_may_do_without_proof(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """With confirm = "none" nobody is asked, and nothing is called confirmed."""
    node = make_node(destinations=(destination(recording_scp, confirm="none"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "sent"
    assert recording_scp.finds == 0


def drain_until_closed(node: Node, new: NewResult) -> DeliveryRow:
    wait_until(
        lambda: node.drain("deliver") >= 0 and the_delivery(node, new).state in {"confirmed", "failed"},
        timeout_s=10.0,
        what="delivery closed",
    )
    return the_delivery(node, new)


def test_a_busy_peer_gets_only_what_it_lacks(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """Out of resources (A700) for one object: that one comes again, the others do not."""
    node = make_node(destinations=(destination(recording_scp),))
    new = publish_three(node, bleed)
    recording_scp.next_statuses = [0x0000, 0xA700, 0xB000]
    assert drain_until_closed(node, new).state == "confirmed"
    assert sorted(len(sums) for sums in recording_scp.contents.values()) == [1, 1, 2]
    assert recording_scp.second_contents() == {}


def test_a_refusal_does_not_keep_the_rest(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """A peer that cannot understand one object (C000) gets the others, and the study says so."""
    node = make_node(destinations=(destination(recording_scp),))
    new = publish_three(node, bleed)
    recording_scp.next_statuses = [0xC000]
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert delivery.state == "failed"
    assert "seg: cannot understand, 0xC000" in delivery.error
    assert sorted(item.state for item in delivery.objects) == ["confirmed", "confirmed", "failed"]
    assert node.drain("deliver") == 0


def test_a_duplicate_counts_only_where_it_is_shown(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """0111 without the object in a query is no arrival: it is sent again."""
    node = make_node(destinations=(destination(recording_scp),), delivery={"hold": False, "confirm_timeout_s": 0.0})
    new = publish_three(node, bleed)
    recording_scp.next_statuses = [0x0111]
    assert drain_until_closed(node, new).state == "confirmed"
    assert sorted(len(sums) for sums in recording_scp.contents.values()) == [1, 1, 2]


# pynetdicom forgets to close the socket of a refused connection
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_a_peer_that_is_down_is_waited_for(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """However often it is not there: when it comes back, everything arrives."""
    late = RecordingScp(port=free_port())
    node = make_node(destinations=(destination(late),), jobs={**QUICK_JOBS, "max_attempts": 2})
    new = publish_three(node, bleed)
    wait_until(
        lambda: node.drain("deliver") >= 0 and node.detail(new.study_instance_uid).jobs[0].attempt >= 4,
        what="fourth attempt",
    )
    assert the_delivery(node, new).state == "pending"
    late.start()
    try:
        assert drain_until_closed(node, new).state == "confirmed"
    finally:
        late.stop()


def test_a_destination_that_was_taken_out_fails_clearly(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """What the settings no longer name is said, not waited for."""
    node = make_node(destinations=(destination(recording_scp, name="other"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert (delivery.state, delivery.error) == ("failed", "The settings name no destination pacs.")


def test_a_peer_without_seg_gets_the_rest_until_it_takes_it(
    make_node: Callable[..., Node], bleed: PaintedSeries
) -> None:
    """Objects of refused SOP classes are left out and named; sent again after the upgrade, only they travel."""
    peer = RecordingScp(without_classes=[KINDS["seg"]])
    peer.start()
    node = make_node(destinations=(destination(peer),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert (delivery.state, delivery.error) == ("confirmed", "Refused: seg: SOP class not supported, 0x0122.")
    report = report_of(node.detail(new.study_instance_uid), node.settings)
    assert report["deliveries"][0]["objects"][0] == {
        "kind": "seg",
        "state": "refused",
        "status": 0x0122,
        "reason": "SOP class not supported, 0x0122",
    }
    assert [item.state for item in delivery.objects] == ["failed", "confirmed", "confirmed"]
    told = [event for event in node.detail(new.study_instance_uid).events if event.name == "object_failed"]
    assert [dict(event.detail) for event in told] == [{"destination": "pacs", "object": "seg", "status_code": 0x0122}]
    assert peer.associations == 2  # one for what was sent, one for the queries
    peer.stop()
    upgraded = RecordingScp(port=peer.port)
    upgraded.start()
    try:
        with node.catalogue.write() as session:
            outbox.resend(session, new.study_instance_uid, delivery.id, by="Dr Day")
        node.drain("deliver")
        assert the_delivery(node, new).state == "confirmed"
        assert list(upgraded.contents) == [new.objects[0].sop_instance_uid]
    finally:
        upgraded.stop()


def test_a_peer_that_takes_nothing_has_no_result(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """Each object refused, here for its transfer syntax: nothing arrived, so the delivery failed."""
    peer = RecordingScp(syntaxes=[ImplicitVRLittleEndian])
    peer.start()
    try:
        node = make_node(destinations=(destination(peer),))
        new = publish_three(node, bleed, kinds=("seg", "summary"))
        node.drain("deliver")
        delivery = the_delivery(node, new)
        assert delivery.state == "failed"
        assert delivery.error == (
            "Refused: seg: transfer syntax not supported, 0xC122; summary: transfer syntax not supported, 0xC122."
        )
        assert peer.contents == {}
    finally:
        peer.stop()


def test_a_pacs_behind_tls(make_node: Callable[..., Node], bleed: PaintedSeries, tmp_path: Path) -> None:
    """Objects and the query that proves them go over mutual TLS."""
    certificates = make_certificates(tmp_path / "certificates")
    peer = RecordingScp(tls=certificates.server_context())
    peer.start()
    shown = {"client_certificate": certificates.certificate("client"), "client_key": certificates.key("client")}
    try:
        tls = {"tls": True, "ca_certificates": certificates.certificate("authority"), **shown}
        node = make_node(destinations=(destination(peer, **tls),))
        new = publish_three(node, bleed)
        node.drain("deliver")
        assert the_delivery(node, new).state == "confirmed"
        assert len(peer.contents) == 3
    finally:
        peer.stop()


def test_certificates_without_tls_are_refused(make_node: Callable[..., Node], recording_scp: RecordingScp) -> None:
    """Who names certificates believes that something is encrypted."""
    with pytest.raises(ValidationError, match="nothing would be encrypted"):
        make_node(destinations=(destination(recording_scp, client_certificate="client.pem"),))


def test_only_what_failed_and_still_stands_is_sent_again(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """A confirmed delivery, one of another study and a superseded one are refused."""
    node = make_node(destinations=(destination(recording_scp),))
    new = publish_three(node, bleed)
    delivery = the_delivery(node, new)
    with node.catalogue.write() as session, pytest.raises(NotResendable):
        outbox.resend(session, new.study_instance_uid, delivery.id, by="Dr Day")
    with node.catalogue.write() as session, pytest.raises(RowNotFound):
        outbox.resend(session, "1.2.3", delivery.id, by="Dr Day")
    with node.catalogue.read() as session:
        before = results.latest_result(session, new.study_instance_uid)
    assert before is not None
    later = replace(new, result_uid=derive_uid("later"), identity_digest="1" * 64, objects=(), supersedes_id=before.id)
    with node.catalogue.write() as session:
        outbox.mark_delivery(session, delivery.id, "failed", "Refused.")
        results.record_result(session, later)
    with node.catalogue.write() as session, pytest.raises(NotResendable):
        outbox.resend(session, new.study_instance_uid, delivery.id, by="Dr Day")
