"""The header's reader against pydicom, and against what nobody should send."""

from __future__ import annotations

import contextlib
import struct
import time
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)

from ichor.errors import BadHeader, IchorError
from listener.elements import BeyondStart, TruncatedDataSet
from listener.header import read_header, read_start
from tests.listener.samples import encode, make_ct

EXPLICIT = str(ExplicitVRLittleEndian)
WHOLE = encode(make_ct())


def with_sequence(*, undefined: bool) -> Dataset:
    """Return a CT with a sequence in a sequence before the UIDs that are read."""
    ds = make_ct()
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "1"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    ds.ReferencedStudySequence = Sequence([outer, outer])
    for sequence in (ds["ReferencedStudySequence"], outer["PurposeOfReferenceCodeSequence"]):
        sequence.is_undefined_length = undefined
        for item in sequence.value:
            item.is_undefined_length_sequence_item = undefined
    return ds


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("undefined", [True, False])
def test_reads_what_pydicom_wrote(syntax: str, *, undefined: bool) -> None:
    """Every uncompressed encoding gives the values that were written, past sequences of either length."""
    ds = with_sequence(undefined=undefined)
    header = read_header(memoryview(encode(ds, syntax)), syntax)
    assert header.sop_instance_uid == ds.SOPInstanceUID
    assert header.study_instance_uid == ds.StudyInstanceUID
    assert header.series_instance_uid == ds.SeriesInstanceUID
    assert header.series_number == 3
    assert (header.modality, header.manufacturer, header.patient_id) == ("CT", "Test", "P1")
    assert (header.patient_name, header.study_date, header.accession_number) == ("Zz^Test", "20260102", "A1")


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, HTJ2KLossless])
def test_encapsulated_pixel_data_is_stepped_over(syntax: str) -> None:
    """Compressed frames are not touched, and one cut short is noticed."""
    ds = make_ct(PixelData=encapsulate([b"\xff\xd8" + bytes(998)]))
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    data = encode(ds, EXPLICIT)
    assert read_header(memoryview(data), syntax).modality == "CT"
    for cut in (1, 8, 9, 500):
        with pytest.raises(TruncatedDataSet):
            read_header(memoryview(data)[:-cut], syntax)


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Müller^Jörg=山田^太郎"),
        ("ISO_IR 144", "Люксембург"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_are_read_in_their_character_set(character_set: str | list[str], name: str) -> None:
    """Names come out as pydicom reads them, in every kind of character set."""
    data = encode(make_ct(SpecificCharacterSet=character_set, PatientName=name))
    assert read_header(memoryview(data), EXPLICIT).patient_name == name


def test_an_unknown_character_set_refuses_nothing() -> None:
    """A character set that nobody knows costs the umlauts, not the instance."""
    data = encode(make_ct(PatientName="Mueller")).replace(b"ISO_IR 100", b"ISO_IR 999")
    assert read_header(memoryview(data), EXPLICIT).patient_name == "Mueller"


def test_deflated_data_sets_are_read_and_checked() -> None:
    """A deflated data set is read; one that is cut short is refused."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = compressor.compress(WHOLE) + compressor.flush()
    assert read_header(memoryview(data), DeflatedExplicitVRLittleEndian).modality == "CT"
    with pytest.raises(TruncatedDataSet):
        read_header(memoryview(data)[:-5], DeflatedExplicitVRLittleEndian)


def test_a_deflate_bomb_costs_a_bounded_time() -> None:
    """A small stream that inflates out of proportion is refused early, and what it inflates to is not kept."""
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = bytes(1 << 22)
    data = compressor.compress(WHOLE) + b"".join(compressor.compress(block) for _ in range(40)) + compressor.flush()
    started = time.monotonic()
    with pytest.raises(BadHeader, match="larger"):
        read_header(memoryview(data), DeflatedExplicitVRLittleEndian)
    assert time.monotonic() - started < 20


def test_a_data_set_cut_anywhere_is_refused() -> None:
    """No prefix passes for the whole, but one that ends between two elements: that is a data set without pixels."""
    tags = (b"\x28\x00", b"\xe0\x7f", b"\x20\x00")
    for length in range(len(WHOLE)):
        try:
            read_header(memoryview(WHOLE)[:length], EXPLICIT)
        except BadHeader:
            continue
        assert WHOLE[length : length + 2] in tags


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=400), syntax=st.sampled_from([EXPLICIT, ImplicitVRLittleEndian, ExplicitVRBigEndian]))
def test_bytes_that_are_not_dicom_are_refused(data: bytes, syntax: str) -> None:
    """Random bytes end in a typed refusal, never in another error."""
    with pytest.raises(IchorError):
        read_header(memoryview(data), syntax)


@pytest.mark.filterwarnings("ignore:Found unknown escape sequence:UserWarning")  # pydicom's word on a bad text
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(position=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255))
def test_one_wrong_byte_is_read_or_refused(position: int, value: int) -> None:
    """A data set with one byte changed is read or refused; nothing else happens."""
    data = bytearray(WHOLE)
    data[position] = value
    with contextlib.suppress(IchorError):
        read_header(memoryview(data), EXPLICIT)


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/../3", "1.2.3\\4", "", "1." + "2" * 63, "1..2", "1.2.x"])
def test_what_is_no_uid_is_refused(uid: str) -> None:
    """A UID that could be a path, is empty or too long is refused."""
    ds = make_ct()
    tag = struct.pack("<HH2sH", 0x0020, 0x000E, b"UI", len(ds.SeriesInstanceUID) + len(ds.SeriesInstanceUID) % 2)
    value = uid.encode() + b"\0" * (len(uid) % 2)
    start = encode(ds)
    at = start.index(tag)
    old_end = at + 8 + struct.unpack_from("<H", start, at + 6)[0]
    data = start[:at] + tag[:6] + struct.pack("<H", len(value)) + value + start[old_end:]
    with pytest.raises(BadHeader):
        read_header(memoryview(data), EXPLICIT)


def test_a_header_of_100_000_elements_is_refused_quickly() -> None:
    """A header with more elements than any image has is refused."""
    elements = b"".join(struct.pack("<HH2sH", 0x0009, number % 0xFFFF, b"LO", 0) for number in range(100_000))
    started = time.monotonic()
    with pytest.raises(BadHeader, match="elements"):
        read_header(memoryview(elements + WHOLE), EXPLICIT)
    assert time.monotonic() - started < 20


def test_attributes_behind_the_first_mib_are_not_looked_for() -> None:
    """A header whose UIDs stand behind a MiB of other things is refused."""
    padding = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 2 << 20) + bytes(2 << 20)
    at = WHOLE.index(struct.pack("<HH2s", 0x0020, 0x000D, b"UI"))
    with pytest.raises(BadHeader, match="missing"):
        read_header(memoryview(WHOLE[:at] + padding + WHOLE[at:]), EXPLICIT)


def test_sequences_that_nest_for_ever_are_refused() -> None:
    """Sequences in sequences without end are refused before they cost anything."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1110, b"SQ", 0, 0xFFFFFFFF)
    with pytest.raises(BadHeader, match="nest"):
        read_header(memoryview((sequence + item) * 100_000), EXPLICIT)


def test_zeros_behind_the_data_set_are_padding() -> None:
    """Zeros that fill up a block of a medium do not make a data set bad."""
    assert read_header(memoryview(WHOLE + bytes(500)), EXPLICIT).modality == "CT"


def test_file_meta_inside_the_data_set_is_refused() -> None:
    """A whole DICOM file in place of a data set would be misread later: it is refused now."""
    meta = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, 0)
    with pytest.raises(BadHeader):
        read_header(memoryview(meta + WHOLE), EXPLICIT)
    with pytest.raises(BadHeader):
        read_header(memoryview(bytes(128) + b"DICM" + meta + WHOLE), EXPLICIT)


@pytest.mark.parametrize(("value", "number"), [(b"2147483647 ", 2**31 - 1), (b"9" * 20, None), (b"A1", None)])
def test_a_series_number_is_one_that_can_be_filed(value: bytes, number: int | None) -> None:
    """What no database column holds is no number: the instance is listed without one, not lost."""
    written = b"\x20\x00\x11\x00IS\x02\x003 "
    assert WHOLE.count(written) == 1
    padded = value.ljust(len(value) + len(value) % 2)
    data = WHOLE.replace(written, written[:6] + struct.pack("<H", len(padded)) + padded)
    assert read_header(memoryview(data), EXPLICIT).series_number == number


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_start_foretells_the_header(syntax: str) -> None:
    """Of a slice its first fragment tells everything, before the rest has come."""
    data = encode(make_ct(PixelData=bytes(200_000)), syntax)
    forecast = read_start(memoryview(data)[:16_000], syntax)
    assert forecast is not None
    assert forecast.size_bytes == len(data)
    assert forecast.header == read_header(memoryview(data), syntax)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    cut=st.integers(0, len(WHOLE)),
    position=st.integers(0, len(WHOLE) - 1),
    value=st.integers(0, 255),
    padding=st.sampled_from((b"", bytes(8), bytes(100))),
)
def test_a_forecast_that_comes_true_is_the_header(cut: int, position: int, value: int, padding: bytes) -> None:
    """Where the size is as foretold, the whole data set reads the same, and is not refused."""
    content = bytearray(WHOLE + padding)
    content[position] = value
    data = memoryview(bytes(content))
    forecast = read_start(data[:cut], EXPLICIT)
    if forecast is not None and forecast.size_bytes == len(data):
        assert forecast.header == read_header(data, EXPLICIT)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(cut=st.integers(0, len(WHOLE)), padding=st.sampled_from((b"", bytes(8), bytes(100))))
def test_a_start_with_the_size_reads_as_the_whole(cut: int, padding: bytes) -> None:
    """With the size of the whole, a start gives the same header or says that it does not reach."""
    data = memoryview(WHOLE + padding)
    with contextlib.suppress(BeyondStart):
        assert read_header(data[:cut], EXPLICIT, size_bytes=len(data)) == read_header(data, EXPLICIT)
