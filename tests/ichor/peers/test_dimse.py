"""DIMSE client: bytes as they are stored, every refusal told from every failure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from ichor.errors import NotDicom, PeerOffersNoQuery, PeerRejected, PeerUnreachable
from ichor.peers.dimse import Peer, StoreOutcome, echo, store, stored_instances
from tests.peers.orthanc import Orthanc
from tests.peers.programs import LOOPBACK, free_port, wait_until
from tests.peers.recording import RecordingScp
from tests.peers.storescp import Storescp

CT = UID("1.2.840.10008.5.1.4.1.1.2")
SEG = UID("1.2.840.10008.5.1.4.1.1.66.4")
STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"


def peer(server: RecordingScp | Storescp) -> Peer:
    return Peer(host=LOOPBACK, port=server.port, ae_title=server.ae_title, calling_ae_title="ICHOR", timeout_s=5.0)


@pytest.fixture
def recorder() -> Iterator[RecordingScp]:
    """A recording peer."""
    server = RecordingScp()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def custom() -> Iterator[Callable[..., Peer]]:
    """Start a peer of a test's own: contexts, handlers, options of the AE."""
    entities = []

    def start(contexts: list[Any], handlers: list[Any] | None = None, **options: Any) -> Peer:
        entity = AE(ae_title="CUSTOM")
        for context in contexts:
            entity.add_supported_context(context)
        for name, value in options.items():
            setattr(entity, name, value)
        port = free_port()
        entity.start_server((LOOPBACK, port), block=False, evt_handlers=handlers or [])
        entities.append(entity)
        return Peer(host=LOOPBACK, port=port, ae_title="CUSTOM", calling_ae_title="ICHOR", timeout_s=2.0)

    yield start
    for entity in entities:
        entity.shutdown()


def write(path: Path, syntax: UID = ExplicitVRLittleEndian, sop_class: UID = CT) -> tuple[str, str]:
    """Write an object; give its SOP Instance UID and the SHA-256 of its data set as it lies in the file."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Test^One", "CT"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.AccessionNumber = dataset.StudyID = ""
    dataset.ContentSequence = [Dataset(), Dataset()]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    dataset.file_meta = meta
    dataset.save_as(
        path,
        enforce_file_format=True,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    # PS3.10 7.1: 128 bytes preamble, "DICM", then the group length says where the data set begins.
    data = path.read_bytes()
    begin = 144 + int.from_bytes(data[140:144], "little")
    return str(dataset.SOPInstanceUID), hashlib.sha256(data[begin:]).hexdigest()


def test_an_echo_is_answered(recorder: RecordingScp) -> None:
    """No answer but success passes silently."""
    echo(peer(recorder))


def test_files_are_sent_byte_for_byte_in_their_own_syntax(recorder: RecordingScp, tmp_path: Path) -> None:
    """Four transfer syntaxes, two SOP classes, one association: the peer has the bytes of the files."""
    expected = {}
    syntaxes = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
    for number, syntax in enumerate(syntaxes):
        uid, digest = write(tmp_path / f"{number}.dcm", syntax, SEG if number % 2 else CT)
        expected[uid] = [digest]
    paths = sorted(tmp_path.iterdir())
    outcomes = list(store(peer(recorder), paths))
    assert [(outcome.path, outcome.status, outcome.stored) for outcome in outcomes] == [(p, 0, True) for p in paths]
    assert dict(recorder.contents) == expected


def test_a_read_back_finds_what_is_there_and_nothing_else(recorder: RecordingScp, tmp_path: Path) -> None:
    """One that was never sent is not found."""
    uid, _ = write(tmp_path / "1.dcm")
    assert stored_instances(peer(recorder), STUDY, {SERIES: [uid]}) == frozenset()
    list(store(peer(recorder), [tmp_path / "1.dcm"]))
    assert stored_instances(peer(recorder), STUDY, {SERIES: [uid, "1.2.3"]}) == {uid}


def test_each_status_is_told(recorder: RecordingScp, tmp_path: Path) -> None:
    """Warning: stored. Out of resources: later. Duplicate: look. Cannot understand: neither."""
    for number in range(4):
        write(tmp_path / f"{number}.dcm")
    recorder.next_statuses = [0xB007, 0xA700, 0x0111, 0xC000]
    outcomes = list(store(peer(recorder), sorted(tmp_path.iterdir())))
    assert [outcome.status for outcome in outcomes] == [0xB007, 0xA700, 0x0111, 0xC000]
    assert [outcome.stored for outcome in outcomes] == [True, False, False, False]
    assert [outcome.transient for outcome in outcomes] == [False, True, False, False]
    assert [outcome.duplicate for outcome in outcomes] == [False, False, True, False]


def test_a_refused_class_does_not_stop_the_others(custom: Callable[..., Peer], tmp_path: Path) -> None:
    """A PACS without SEG gets the CT, and the SEG is told as not supported."""
    write(tmp_path / "1.dcm", sop_class=SEG)
    write(tmp_path / "2.dcm")
    there = custom([CT], [(evt.EVT_C_STORE, lambda _: 0x0000)])
    assert [outcome.status for outcome in store(there, sorted(tmp_path.iterdir()))] == [0x0122, 0x0000]


def test_a_peer_that_takes_nothing_of_it_says_so_for_each(custom: Callable[..., Peer], tmp_path: Path) -> None:
    """No context accepted: not unreachable, and no query either."""
    write(tmp_path / "1.dcm", sop_class=SEG)
    there = custom([Verification])
    assert [outcome.status for outcome in store(there, [tmp_path / "1.dcm"])] == [0x0122]
    with pytest.raises(PeerOffersNoQuery):
        stored_instances(there, STUDY, {SERIES: ["1.2"]})
    with pytest.raises(PeerRejected, match="C-ECHO"):
        echo(custom([CT]))


# pynetdicom's AssociationSocket._shutdown_socket skips close() on a socket that never connected; Python closes it.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_a_peer_that_refuses_us_for_good_is_told_from_one_that_is_away(custom: Callable[..., Peer]) -> None:
    """Wrong AE title: rejected. Nobody there: unreachable."""
    with pytest.raises(PeerRejected, match="Calling AE title not recognised"):
        echo(custom([Verification], require_calling_aet=["SOMEBODY"]))
    with pytest.raises(PeerUnreachable, match="does not answer"):
        echo(Peer(host=LOOPBACK, port=free_port(), ae_title="X", calling_ae_title="ICHOR", timeout_s=1.0))


def test_a_full_peer_is_to_be_asked_again(custom: Callable[..., Peer]) -> None:
    """Rejected for the moment (local limit exceeded) is no rejection for good."""
    there = custom([Verification], maximum_associations=1)
    other = AE()
    other.add_requested_context(Verification)
    holding = other.associate(LOOPBACK, there.port)
    with pytest.raises(PeerUnreachable, match=r"(?i)limit"):
        echo(there)
    holding.release()

    def answers() -> bool:
        try:
            echo(there)
        except PeerUnreachable:
            return False
        return True

    wait_until(answers, what="the place is free")


def test_a_peer_that_falls_silent_ends_the_sending(custom: Callable[..., Peer], tmp_path: Path) -> None:
    """What was answered before stands; then the error, not a status."""
    for number in range(3):
        write(tmp_path / f"{number}.dcm")
    answered = []

    def abort_at_second(event: Any) -> int:
        answered.append(event)
        if len(answered) == 2:
            event.assoc.abort()
        return 0x0000

    there = custom([CT], [(evt.EVT_C_STORE, abort_at_second)])
    outcomes: list[StoreOutcome] = []
    sending = store(there, sorted(tmp_path.iterdir()))
    with pytest.raises(PeerUnreachable):
        outcomes.extend(iter(lambda: next(sending), None))
    assert len(answered) == 2


def test_who_stops_listening_to_the_outcomes_leaves_no_association_open(recorder: RecordingScp, tmp_path: Path) -> None:
    """A generator that is closed early ends its association; the next one works."""
    write(tmp_path / "1.dcm")
    write(tmp_path / "2.dcm")
    sending = store(peer(recorder), sorted(tmp_path.iterdir()))
    assert next(sending).stored
    sending.close()  # type: ignore[attr-defined]
    echo(peer(recorder))


def test_a_file_that_is_no_dicom_is_said_before_anything_is_sent(recorder: RecordingScp, tmp_path: Path) -> None:
    """All or nothing where the fault is ours."""
    write(tmp_path / "1.dcm")
    (tmp_path / "2.dcm").write_bytes(b"no")
    with pytest.raises(NotDicom, match=r"2\.dcm"):
        list(store(peer(recorder), sorted(tmp_path.iterdir())))
    assert dict(recorder.contents) == {}
    assert list(store(peer(recorder), [])) == []


@pytest.mark.integration
def test_dcmtk_stores_what_was_sent(storescp: Storescp, tmp_path: Path) -> None:
    """A peer written by other people reads the same values; it offers no query, and says so."""
    path = tmp_path / "1.dcm"
    uid, _ = write(path, ImplicitVRLittleEndian)
    echo(peer(storescp))
    assert [outcome.status for outcome in store(peer(storescp), [path])] == [0]
    (stored,) = storescp.files()
    assert dcmread(stored) == dcmread(path)
    with pytest.raises(PeerOffersNoQuery):
        stored_instances(peer(storescp), STUDY, {SERIES: [uid]})


@pytest.mark.integration
def test_orthanc_proves_what_it_has(orthanc: Orthanc, tmp_path: Path) -> None:
    """Store, then read back by C-FIND on IMAGE level."""
    path = tmp_path / "1.dcm"
    uid, _ = write(path)
    there = Peer(
        host=LOOPBACK, port=orthanc.dicom_port, ae_title=orthanc.ae_title, calling_ae_title="ICHOR", timeout_s=10.0
    )
    assert [outcome.status for outcome in store(there, [path])] == [0]
    assert stored_instances(there, STUDY, {SERIES: [uid, "1.2.3"]}) == {uid}
