"""Which second data sets under a known UID are the same image, and which of those are corrections."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from listener.header import read_header
from listener.version import Encoded, same_image
from tests.listener.samples import encode, make_ct, part10


def encoded(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> Encoded:
    return Encoded(data=memoryview(encode(ds, transfer_syntax_uid)), transfer_syntax_uid=transfer_syntax_uid)


def compressed(ds: Dataset, transfer_syntax_uid: str) -> Encoded:
    part10(ds)  # gives it file meta information
    ds.compress(transfer_syntax_uid, generate_instance_uid=False)
    return encoded(ds, transfer_syntax_uid)


def noisy(**attributes: Any) -> Dataset:
    pixels = np.random.default_rng(3).integers(-1000, 1000, (16, 16), dtype=np.int16)
    return make_ct(SOPInstanceUID="1.2.3", PixelData=pixels.tobytes(), **attributes)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless])
def test_the_same_pixels_are_recognised_in_any_encoding(syntax: str) -> None:
    """Whatever the header says of the patient, and whether or not an archive has compressed it meanwhile."""
    corrected = noisy(PatientName="Second^Name")
    later = compressed(corrected, syntax) if syntax in {JPEGLSLossless, RLELossless} else encoded(corrected, syntax)
    assert same_image(encoded(noisy()), later)
    assert same_image(later, encoded(noisy()))


@pytest.mark.parametrize("change", ["one_value", "window_of_the_bits", "no_pixels"])
def test_other_pixels_are_another_image(change: str) -> None:
    """One grey level, or another meaning of the same bytes, is enough."""
    other = noisy()
    if change == "one_value":
        other.PixelData = other.PixelData[:-2] + b"\x00\x7f"
    elif change == "window_of_the_bits":
        other.PixelRepresentation = 0
    else:
        del other.PixelData
    assert not same_image(encoded(noisy()), encoded(other))


def test_what_cannot_be_decoded_is_another_image() -> None:
    """A damaged compressed frame proves nothing."""
    later = compressed(noisy(), JPEGLSLossless)
    damaged = bytes(later.data).replace(b"\xff\xd8\xff", b"\x00\x00\x00")
    assert not same_image(encoded(noisy()), Encoded(data=memoryview(damaged), transfer_syntax_uid=JPEGLSLossless))


def test_reports_hold_no_pixels_and_may_be_corrected() -> None:
    """Two data sets without pixels count as the same: nothing of them is measured."""
    first, second = make_ct(PixelData=None), make_ct(PixelData=None, PatientID="P2")
    assert same_image(encoded(first), encoded(second))


@pytest.mark.parametrize(
    ("change", "correction"),
    [
        ({"PatientID": "P2"}, True),
        ({"PatientName": "Other^Name"}, True),
        ({"PatientBirthDate": "19500101"}, True),
        ({"IssuerOfPatientID": "HOSPITAL"}, True),
        ({"PatientSex": "F"}, True),
        ({"AccessionNumber": "A2"}, True),
        ({"StudyDescription": "Head without contrast"}, True),
        ({"StudyInstanceUID": "1.2.9"}, True),
        ({"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1"}, False),
        ({"SeriesInstanceUID": "1.2.9.1"}, False),
        ({"PatientName": "Zz^Test^^"}, False),
        ({"Manufacturer": "Archive"}, False),
        ({}, False),
    ],
)
def test_what_a_correction_changes(change: dict[str, str], correction: bool) -> None:  # noqa: FBT001 - a table of cases
    """Patient, order or study; spelling, series and technical attributes are none."""
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1"}
    first = read_header(encoded(make_ct(**uids)).data, ExplicitVRLittleEndian)
    later = read_header(encoded(make_ct(**(uids | change))).data, ExplicitVRLittleEndian)
    assert first.registration.corrected_by(later.registration) is correction


def test_a_name_in_another_character_set_is_the_same_name() -> None:
    """Letters count, not bytes."""
    latin = make_ct(PatientName="Müller^Änne", StudyInstanceUID="1.2")
    unicode = make_ct(PatientName="Müller^Änne", StudyInstanceUID="1.2", SpecificCharacterSet="ISO_IR 192")
    first, later = (read_header(encoded(ds).data, ExplicitVRLittleEndian) for ds in (latin, unicode))
    assert first.identity == later.identity


def test_a_deflated_data_set_is_compared_inflated() -> None:
    """An archive may deflate what it keeps (PS3.5 A.5)."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflate.compress(encode(noisy(PatientID="P2"))) + deflate.flush()
    later = Encoded(data=memoryview(data), transfer_syntax_uid=DeflatedExplicitVRLittleEndian)
    assert same_image(encoded(noisy()), later)
