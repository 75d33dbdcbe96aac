"""What the receiver keeps, refuses and puts aside."""

from __future__ import annotations

import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from ichor.catalogue.records import ReceivedInstance
from ichor.errors import BadHeader, StartError, StoreFull
from ichor.store import Store
from listener.admission import DataSetMismatch, SopClassNotSupported, refusal_of
from listener.receipt import Arrival, InstanceConflict, Receiver, read_spooled
from tests.listener.running import ListRegister
from tests.listener.samples import encode, make_ct


def arrival_of(ds: Dataset) -> Arrival:
    """Return what a sender says of a data set."""
    return Arrival(
        sop_class_uid=ds.SOPClassUID,
        sop_instance_uid=ds.SOPInstanceUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        calling_ae="SCANNER",
        called_ae="ICHOR",
        channel="dimse",
    )


def files(store: Store, folder: str) -> list[Path]:
    """Return every file below a folder of the store."""
    return sorted(path for path in (store.data_dir / folder).rglob("*") if path.is_file())


def test_the_bytes_are_kept_as_they_came(store: Store, receiver: Receiver, register: ListRegister) -> None:
    """The spool file ends with the very bytes that were sent, and the register is told."""
    ds = make_ct()
    data = encode(ds)
    receipt = receiver.receive(arrival_of(ds), memoryview(data))
    assert receipt.outcome == "stored"
    assert receipt.path.read_bytes().endswith(data)
    (filing,) = register.filings
    assert isinstance(filing, ReceivedInstance)
    assert filing.sha256 == hashlib.sha256(data).hexdigest()
    assert filing.size_bytes == len(data)
    assert filing == read_spooled(receipt.path)
    assert files(store, "spool") == [receipt.path]
    assert receipt.path.stat().st_mode & 0o777 == 0o600


def test_the_same_again_changes_nothing(store: Store, receiver: Receiver, register: ListRegister) -> None:
    """The same bytes again succeed and leave no trace, before any catalogue knows of the first."""
    ds = make_ct()
    for outcome in ("stored", "duplicate", "duplicate"):
        assert receiver.receive(arrival_of(ds), memoryview(encode(ds))).outcome == outcome
    assert len(register.filings) == 1
    assert len(files(store, "spool")) == 1


def test_other_bytes_go_to_the_quarantine(store: Store, receiver: Receiver, register: ListRegister) -> None:
    """Other bytes under a known UID leave the first alone and lie, whole, in the quarantine, once."""
    first = make_ct()
    second = make_ct(
        SOPInstanceUID=first.SOPInstanceUID,
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        PixelData=bytes(512),
    )
    kept = receiver.receive(arrival_of(first), memoryview(encode(first)))
    before = kept.path.read_bytes()
    assert receiver.receive(arrival_of(second), memoryview(encode(second))).outcome == "conflict"
    assert receiver.receive(arrival_of(second), memoryview(encode(second))).outcome == "duplicate"
    assert kept.path.read_bytes() == before
    (aside,) = files(store, "quarantine")
    assert aside.read_bytes().endswith(encode(second))
    assert [type(filing) for filing in register.filings] == [ReceivedInstance, InstanceConflict]


def test_many_senders_of_one_uid_leave_one_instance(store: Store, register: ListRegister) -> None:
    """Of eight contents sent at once under one UID one is kept, by receivers as of several processes."""
    first = make_ct()
    versions = [
        make_ct(
            SOPInstanceUID=first.SOPInstanceUID,
            StudyInstanceUID=first.StudyInstanceUID,
            SeriesInstanceUID=first.SeriesInstanceUID,
            PixelData=bytes([number]) * 512,
        )
        for number in range(8)
    ]

    def send(ds: Dataset) -> str:
        receiver = Receiver(store, register, min_free_bytes=0)
        return receiver.receive(arrival_of(ds), memoryview(encode(ds))).outcome

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(send, versions * 2))
    assert sorted(outcomes) == ["conflict"] * 7 + ["duplicate"] * 8 + ["stored"]
    assert len(files(store, "spool")) == 1
    assert len(files(store, "quarantine")) == 7


@pytest.mark.parametrize("change", ["class", "instance"])
def test_what_the_request_announces_must_come(store: Store, receiver: Receiver, change: str) -> None:
    """A data set that is another instance or class than announced is refused and not kept."""
    announced = make_ct()
    sent = make_ct(SOPInstanceUID=announced.SOPInstanceUID)
    if change == "class":
        sent.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    else:
        sent.SOPInstanceUID = "1.2.3.4"
    with pytest.raises(DataSetMismatch) as caught:
        receiver.receive(arrival_of(announced), memoryview(encode(sent)))
    assert refusal_of(caught.value).status == 0xA900
    assert files(store, "spool") == []


def test_other_classes_are_refused(store: Store, receiver: Receiver) -> None:
    """An MR image is not taken."""
    ds = make_ct(SOPClassUID=MRImageStorage)
    with pytest.raises(SopClassNotSupported) as caught:
        receiver.receive(arrival_of(ds), memoryview(encode(ds)))
    assert refusal_of(caught.value).status == 0x0122
    assert files(store, "spool") == []


def test_a_truncated_data_set_is_refused(store: Store, receiver: Receiver) -> None:
    """Pixel data shorter than its length field is refused as not understood, and not kept."""
    ds = make_ct()
    with pytest.raises(BadHeader) as caught:
        receiver.receive(arrival_of(ds), memoryview(encode(ds))[:-1])
    assert refusal_of(caught.value).status == 0xC000
    assert files(store, "spool") == []


def test_uids_that_are_paths_are_refused(store: Store, receiver: Receiver) -> None:
    """A UID with dots and slashes writes nothing, anywhere."""
    ds = make_ct()
    uid = ds.SOPInstanceUID
    bad = ("../" * 30)[: len(uid)]
    data = encode(ds).replace(uid.encode(), bad.encode())
    said = Arrival(
        sop_class_uid=CTImageStorage,
        sop_instance_uid=bad,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        calling_ae="SCANNER",
        called_ae="ICHOR",
        channel="dimse",
    )
    with pytest.raises(BadHeader) as caught:
        receiver.receive(said, memoryview(data))
    assert refusal_of(caught.value).status == 0xC000
    assert files(store, "spool") == []


def test_a_full_disk_refuses_and_recovers(store: Store, register: ListRegister) -> None:
    """Below the reserve instances are refused with A700; with room again the same instance is taken."""
    free = [1_000_000]
    receiver = Receiver(store, register, min_free_bytes=1_000_000, free_bytes=lambda: free[0])
    ds = make_ct()
    with pytest.raises(StoreFull) as caught:
        receiver.receive(arrival_of(ds), memoryview(encode(ds)))
    assert refusal_of(caught.value).status == 0xA700
    assert register.filings == []
    assert files(store, "spool") == []
    free[0] = 2_000_000
    assert receiver.receive(arrival_of(ds), memoryview(encode(ds))).outcome == "stored"


def test_refusals_say_nothing_of_the_sender_s_data() -> None:
    """An unexpected error is a processing failure whose comment is the same for all."""
    refusal = refusal_of(RuntimeError("Zz^Test 1.2.3"))
    assert refusal.status == 0x0110
    assert "Zz" not in refusal.comment
    assert refusal_of(OSError(errno.ENOSPC, "full")).status == 0xA700


def test_a_data_directory_that_cannot_be_used_is_one_sentence(tmp_path: Path, register: ListRegister) -> None:
    """A data directory below a file does not start, and says so."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StartError, match=r"^The data directory .* cannot be used: .*\.$"):
        Receiver(Store(tmp_path / "file" / "data"), register, min_free_bytes=0)


def test_what_a_power_cut_left_in_the_inbox_is_brought_to_its_place(store: Store, register: ListRegister) -> None:
    """A file that was synced and whose rename is lost is found whole at the next start; an unfinished one goes."""
    ds = make_ct()
    data = encode(ds)
    receiver = Receiver(store, register, min_free_bytes=0)
    kept = receiver.receive(arrival_of(ds), memoryview(data)).path
    unfinished = receiver.begin()
    unfinished.write(data[:300])
    lost = unfinished.path.with_name("lost")
    kept.rename(lost)
    inbox = Receiver(store, register, min_free_bytes=0)
    assert inbox.recover() == 0  # the process that owns the folder lives
    receiver.close()
    assert inbox.recover() == 1
    assert kept.read_bytes().endswith(data)
    assert list(store.inbox_dir.rglob("*")) == []
    assert inbox.recover() == 0
