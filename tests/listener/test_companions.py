"""What travels with a CT is stored and leaves no work; what a sender gets wrong has a status and a line in the log."""

from __future__ import annotations

import zlib

import pytest
import structlog
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from sqlalchemy import select

from ichor.catalogue.schema import Instance, JobEntry, Series
from ichor.catalogue.settling import settle
from listener.admission import CT_IMAGE_CLASSES, STORED_CLASSES
from tests.listener import wire
from tests.listener.running import Listener
from tests.listener.samples import encode, make_ct
from tests.listener.test_dimse import associated
from tests.peers.programs import wait_until


def test_companions_are_stored_and_not_analysed(listener: Listener) -> None:
    """Every SOP class that is taken beside images is stored under its name, and starts no analysis."""
    companions = sorted(STORED_CLASSES.keys() - CT_IMAGE_CLASSES.keys())
    for name in ("Secondary Capture", "Enhanced SR", "Segmentation", "Key Object", "Softcopy", "Radiation Dose"):
        assert any(name in STORED_CLASSES[uid] for uid in companions)
    entity = AE(ae_title="SCANNER")
    for uid in companions:
        assert UID(uid).name in {STORED_CLASSES[uid], uid}  # PS3.6 Table A-1, where pydicom knows it
        entity.add_requested_context(uid, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", listener.port, ae_title="ICHOR")
    assert association.is_established
    for number, uid in enumerate(companions):
        ds = make_ct(SOPClassUID=uid, StudyInstanceUID="1.2", SeriesInstanceUID=f"1.2.{number}", Modality="OT")
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        assert association.send_c_store(ds).Status == 0, STORED_CLASSES[uid]
    association.release()
    wait_until(lambda: len(classes(listener)) == len(companions))
    assert classes(listener) == set(companions)
    with listener.catalogue.write() as session:
        settle(session, settle_s=0.0, study_settle_s=3600.0)
        assert not any(session.scalars(select(Series.has_images)))
        assert session.scalars(select(JobEntry)).all() == []


def classes(listener: Listener) -> set[str]:
    """Return the SOP classes that the catalogue holds."""
    with listener.catalogue.read() as session:
        return set(session.scalars(select(Instance.sop_class_uid)))


def deflated(content: bytes) -> bytes:
    """Deflate a data set (PS3.5 A.5)."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def crowded(ds: Dataset) -> bytes:
    """Return a data set with 100,000 private elements of no length behind its own."""
    return encode(ds) + b"".join(_private(number) for number in range(100_000))


def _private(number: int) -> bytes:
    group, element = 0x7FE1 + 2 * (number >> 15), 0x1000 + (number & 0x7FFF)
    return group.to_bytes(2, "little") + element.to_bytes(2, "little") + b"LO\0\0"


@pytest.mark.parametrize(
    ("what", "code"),
    [("crowded", "bad_header"), ("bomb", "bad_header"), ("truncated", "truncated"), ("other", "data_set_mismatch")],
)
def test_bad_data_sets_are_told_and_logged(listener: Listener, what: str, code: str) -> None:
    """100,000 elements, a deflate bomb, a truncated and another data set: a status, a line, no file."""
    ds = make_ct()
    syntax = DeflatedExplicitVRLittleEndian if what == "bomb" else ExplicitVRLittleEndian
    data = {
        "crowded": lambda: crowded(ds),
        "bomb": lambda: deflated(encode(ds) + bytes(100 << 20)),
        "truncated": lambda: encode(ds)[:-1],
        "other": lambda: encode(make_ct()),
    }[what]()
    with structlog.testing.capture_logs() as lines, associated(listener.port, transfer_syntax_uid=syntax) as connection:
        connection.settimeout(60)
        connection.sendall(b"".join(wire.store(ds, data, fragment_bytes=16000)))
        answer = connection.recv(65536)
    status = answer[answer.index(b"\0\0\0\x09\x02\0\0\0") + 8 :][:2]  # (0000,0900)
    assert int.from_bytes(status, "little") == (0xA900 if what == "other" else 0xC000)
    (line,) = [one for one in lines if one["event"] == "instance_refused"]
    assert (line["code"], line["calling_ae"]) == (code, "RAW")
    assert str(ds.PatientName) not in str(lines)
    assert listener.spooled() == []
    assert listener.send(make_ct()) == 0


def test_a_wrong_abstract_syntax_gets_no_context(listener: Listener) -> None:
    """Of a class that is not taken the context is rejected, the association is not (PS3.8 9.3.3.2)."""
    with associated(listener.port, sop_class_uid=MRImageStorage) as connection:
        connection.sendall(b"".join(wire.store(make_ct(), encode(make_ct()))))
        assert connection.recv(65536)[0] == 7  # A-ABORT: nothing may be sent in a context that was rejected
    assert listener.spooled() == []
    with associated(listener.port, sop_class_uid=CTImageStorage) as connection:
        connection.sendall(wire.RELEASE_RQ)
        assert connection.recv(65536)[0] == 6


def test_every_ct_class_is_taken() -> None:
    """Whatever the standard calls a storage class of CT is stored; DICOS is luggage."""
    classes_of_ct = {
        uid
        for uid, (name, kind, _, retired, _) in UID_dictionary.items()
        if kind == "SOP Class" and name.endswith("Storage") and "CT" in name.split() and not retired
        if not name.startswith("DICOS")
    }
    assert len(classes_of_ct) == 5
    assert classes_of_ct <= STORED_CLASSES.keys()
