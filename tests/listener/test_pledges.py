"""Storage commitment as a provider, against pynetdicom's and Orthanc's users."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from sqlalchemy import select

from ichor.catalogue import pledges
from ichor.catalogue.schema import Pledge
from ichor.sections import CallerSettings
from listener.dimse import serving
from tests.listener.running import Listener
from tests.listener.samples import make_ct
from tests.peers.orthanc import Orthanc
from tests.peers.programs import free_port, wait_until

PUSH_MODEL, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


@dataclass
class Report:
    """What an N-EVENT-REPORT said."""

    kind: int
    transaction_uid: str
    committed: set[str]
    failed: dict[str, int]


@dataclass
class Asker:
    """A storage and storage commitment SCU that remembers reports, on its own association or brought to its port."""

    reports: queue.Queue[Report] = field(default_factory=queue.Queue)

    def handlers(self) -> list[Any]:
        """Return what takes reports."""
        return [(evt.EVT_N_EVENT_REPORT, self._on_report)]

    def _on_report(self, event: Any) -> tuple[int, None]:
        said = event.event_information
        self.reports.put(
            Report(
                kind=event.event_type,
                transaction_uid=said.TransactionUID,
                committed={item.ReferencedSOPInstanceUID for item in said.get("ReferencedSOPSequence", [])},
                failed={
                    item.ReferencedSOPInstanceUID: item.FailureReason for item in said.get("FailedSOPSequence", [])
                },
            )
        )
        return 0, None

    @contextmanager
    def association(self, port: int) -> Iterator[Association]:
        """Associate for storage and commitment."""
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        entity.add_requested_context(PUSH_MODEL)
        association = entity.associate("127.0.0.1", port, ae_title="ICHOR", evt_handlers=self.handlers())
        assert association.is_established
        try:
            yield association
        finally:
            association.release()

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Take reports on a port of its own, as commitment SCU by the provider's role selection."""
        entity = AE(ae_title="SCANNER")
        entity.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)
        port = free_port()
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=self.handlers())
        try:
            yield port
        finally:
            assert server is not None
        server.shutdown()


def store(association: Association, count: int) -> list[str]:
    """Send slices; return their UIDs."""
    uids = []
    for _ in range(count):
        ds = make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        assert association.send_c_store(ds).Status == 0
        uids.append(str(ds.SOPInstanceUID))
    return uids


def request(uids: list[str], sop_class_uid: str = CTImageStorage) -> Dataset:
    """Return the Action Information about some instances."""
    information = Dataset()
    information.TransactionUID = generate_uid()
    information.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
        information.ReferencedSOPSequence.append(item)
    return information


def ask(association: Association, information: Dataset, *, action: int = 1, instance: str = WELL_KNOWN) -> int:
    """Send the N-ACTION; return its status."""
    status, _ = association.send_n_action(information, action, PUSH_MODEL, instance)
    return int(status.Status)


@pytest.fixture
def committing(listener: Listener) -> Iterator[Listener]:
    """A second listener on the same store, that answers requests on the association and, for SCANNER, at a port."""
    dicom = listener.settings.dicom.model_copy(update={"idle_timeout_s": 60})
    with serving(dicom, listener.receiver, listener.catalogue) as server:
        yield Listener(server.ports[0], listener.settings, listener.catalogue, listener.receiver)


def test_what_is_on_the_disk_is_committed(committing: Listener) -> None:
    """All there: event 1. What never came, was lost or damaged since, or is of another class: event 2, with reasons."""
    asker = Asker()
    with asker.association(committing.port) as association:
        uids = store(association, 4)
        asked = request(uids)
        assert ask(association, asked) == 0
        report = asker.reports.get(timeout=30)
        assert (report.kind, report.transaction_uid, report.failed) == (1, asked.TransactionUID, {})
        assert report.committed == set(uids)
        paths = {path.stem: path for path in committing.spooled()}
        paths[uids[0]].unlink()
        content = bytearray(paths[uids[1]].read_bytes())
        content[-1] ^= 1
        paths[uids[1]].write_bytes(content)
        asked = request([*uids, "1.2.3.4.5"])
        asked.ReferencedSOPSequence[2].ReferencedSOPClassUID = MRImageStorage
        assert ask(association, asked) == 0
        report = asker.reports.get(timeout=60)
        assert report.kind == 2
        assert report.committed == {uids[3]}
        assert report.failed == {uids[0]: 0x0112, uids[1]: 0x0112, uids[2]: 0x0119, "1.2.3.4.5": 0x0112}
        assert store(association, 1)  # the association goes on


def test_the_answer_follows_a_sender_that_has_left(listener: Listener) -> None:
    """Where the sender released, the answer is brought to where its entry says."""
    asker = Asker()
    with asker.listening() as port:
        caller = CallerSettings(ae_title="SCANNER", host="127.0.0.1", port=port)
        dicom = listener.settings.dicom.model_copy(update={"callers": (caller,)})
        with serving(dicom, listener.receiver, listener.catalogue) as server:
            with asker.association(server.ports[0]) as association:
                uids = store(association, 2)
                assert ask(association, request(uids)) == 0
            report = asker.reports.get(timeout=60)
            assert report.committed == set(uids)
            wait_until(lambda: not open_requests(listener))


def test_a_request_survives_a_crash(listener: Listener) -> None:
    """What a process accepted and did not live to answer is answered by the next one, once."""
    asker = Asker()
    with asker.association(listener.port) as association:
        uids = store(association, 2)
    with listener.catalogue.write() as session:
        pledges.record(
            session,
            transaction_uid="1.2.3",
            calling_ae="SCANNER",
            called_ae="ICHOR",
            address="127.0.0.1",
            wanted=[(CTImageStorage, uid) for uid in uids],
            due_in_s=0.0,
        )
    with asker.listening() as port:
        caller = CallerSettings(ae_title="SCANNER", host="127.0.0.1", port=port)
        dicom = listener.settings.dicom.model_copy(update={"callers": (caller,)})
        with serving(dicom, listener.receiver, listener.catalogue):
            report = asker.reports.get(timeout=60)
            assert (report.transaction_uid, report.committed) == ("1.2.3", set(uids))
            wait_until(lambda: not open_requests(listener))
    assert asker.reports.empty()


def open_requests(listener: Listener) -> bool:
    """Say whether a request is still to be answered."""
    with listener.catalogue.read() as session:
        return session.scalar(select(Pledge.id).where(Pledge.closed_at.is_(None))) is not None


def test_requests_that_are_none_get_their_status(committing: Listener) -> None:
    """PS3.4 J.3.2.1.4, PS3.7 C.5: no such action, no such instance, nothing asked for, no UID."""
    with Asker().association(committing.port) as association:
        uids = store(association, 1)
        assert ask(association, request(uids), action=2) == 0x0123
        assert ask(association, request(uids), instance="1.2.3") == 0x0112
        assert ask(association, request([])) == 0x0115
        empty = Dataset()
        empty.TransactionUID = "1.2.3"
        assert ask(association, empty) == 0x0115
        assert association.is_established


def test_a_caller_without_leave_is_refused(listener: Listener) -> None:
    """`commitment = false` is status 0124, not authorised."""
    dicom = listener.settings.dicom.model_copy(update={"callers": (CallerSettings(commitment=False),)})
    with (
        serving(dicom, listener.receiver, listener.catalogue) as server,
        Asker().association(server.ports[0]) as association,
    ):
        assert ask(association, request(["1.2.3"])) == 0x0124


@pytest.mark.integration
def test_orthanc_asks_and_is_answered(listener: Listener, start_orthanc: Callable[..., Orthanc]) -> None:
    """Orthanc sends a study, asks for commitment and gets it on an association that the node opens."""
    port = free_port()
    orthanc = start_orthanc(modalities={"ichor": ["ICHOR", "127.0.0.1", port]})
    caller = CallerSettings(ae_title=orthanc.ae_title, host="127.0.0.1", port=orthanc.dicom_port)
    dicom = listener.settings.dicom.model_copy(update={"port": port, "callers": (caller,)})
    store_to_orthanc(orthanc)
    uid = next(iter(orthanc.instances()))
    with serving(dicom, listener.receiver, listener.catalogue):
        root = f"{orthanc.url}/modalities/ichor"
        sent = httpx.post(f"{root}/store", json={"Resources": list(orthanc.instances().values())}, timeout=30)
        sent.raise_for_status()
        asked = httpx.post(f"{root}/storage-commitment", json={"DicomInstances": [[CTImageStorage, uid]]}, timeout=30)
        path = asked.raise_for_status().json()["Path"]
        wait_until(lambda: orthanc.get(path)["Status"] != "Pending", timeout_s=60)
        assert orthanc.get(path)["Status"] == "Success"


def store_to_orthanc(orthanc: Orthanc) -> None:
    """Give Orthanc one slice."""
    entity = AE(ae_title="TEST")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", orthanc.dicom_port, ae_title=orthanc.ae_title)
    assert association.is_established
    store(association, 1)
    association.release()
    wait_until(lambda: bool(orthanc.instances()))
