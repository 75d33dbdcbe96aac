"""The files of the spool are DICOM files that tell how they came."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ichor.errors import BadHeader, NotDicom
from listener.part10 import Provenance, encode_file_start, read_file_meta
from tests.listener.samples import encode, make_ct, part10

PROVENANCE = Provenance(
    received_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    sha256="ab" * 32,
    size_bytes=1234,
    calling_ae="SCANNER 1",
    called_ae="ICHOR",
    channel="dimse",
)


def start_of(sop_instance_uid: str = "1.2.3") -> bytes:
    """Return the start of a spooled file."""
    return encode_file_start(
        sop_class_uid=CTImageStorage,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        provenance=PROVENANCE,
    )


def test_pydicom_reads_what_is_written() -> None:
    """The file is a DICOM file to others, with the sender's AE title, and its data set is untouched."""
    sent = make_ct()
    ds = pydicom.dcmread(BytesIO(start_of(sent.SOPInstanceUID) + encode(sent)))
    assert ds == sent
    meta = ds.file_meta
    assert meta.MediaStorageSOPInstanceUID == sent.SOPInstanceUID
    assert meta.MediaStorageSOPClassUID == CTImageStorage
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (meta.SourceApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == ("SCANNER 1", "ICHOR")
    assert meta.FileMetaInformationGroupLength == len(start_of(sent.SOPInstanceUID)) - 132 - 12


def test_provenance_comes_back() -> None:
    """What was written about the receipt is read again, to the microsecond."""
    data = start_of()
    meta = read_file_meta(memoryview(data + b"the data set"))
    assert meta.private_information is not None
    assert Provenance.from_json(meta.private_information) == PROVENANCE
    assert meta.data_set_start == len(data)
    assert (meta.sop_instance_uid, meta.source_ae) == ("1.2.3", "SCANNER 1")


def test_files_of_others_are_read() -> None:
    """A file that pydicom wrote is read; it has no private information of ours."""
    ds = make_ct()
    meta = read_file_meta(memoryview(part10(ds)))
    assert meta.sop_instance_uid == ds.SOPInstanceUID
    assert meta.private_information is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NotDicom),
        (b"not a DICOM file" * 100, NotDicom),
        (bytes(128) + b"DICM", BadHeader),
        (start_of()[:200], BadHeader),
        (bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\xff\xff\xff\x7f" + bytes(100), BadHeader),
    ],
)
def test_what_is_no_file_meta_information_is_refused(data: bytes, error: type[Exception]) -> None:
    """Other files, and such as end too early, are refused with a type that says which."""
    with pytest.raises(error):
        read_file_meta(memoryview(data))


def test_private_information_of_others_is_refused() -> None:
    """Something else in the place of our private information is refused, not guessed at."""
    for text in (b"", b"{}", b"[1]", b'{"received_at": 3}'):
        with pytest.raises(BadHeader):
            Provenance.from_json(text)
