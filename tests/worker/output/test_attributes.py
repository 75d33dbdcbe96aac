from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta, timezone
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset

from worker.output.attributes import StudyAttributes
from worker.output.context import WriteContext
from worker.output.instance import complete, to_bytes


def _header(**values: object) -> Dataset:
    header = Dataset()
    header.StudyInstanceUID = "1.2.3"
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


def test_absent_type_2_attributes_are_added_empty() -> None:
    """A source without birth date and sex still gives complete objects."""
    elements = StudyAttributes.of(_header(PatientID="4711")).elements
    assert elements.PatientID == "4711"
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID", "AccessionNumber"):
        assert keyword in elements
        assert elements[keyword].is_empty


def test_empty_attributes_that_would_break_an_object_are_left_out() -> None:
    """An empty DeidentificationMethod goes, and with it the statement that needs it."""
    elements = StudyAttributes.of(_header(PatientIdentityRemoved="YES", DeidentificationMethod="")).elements
    assert "DeidentificationMethod" not in elements
    assert "PatientIdentityRemoved" not in elements
    kept = StudyAttributes.of(_header(PatientIdentityRemoved="YES", DeidentificationMethod="by hand")).elements
    assert kept.PatientIdentityRemoved == "YES"


def test_the_source_stays_as_it_is() -> None:
    """Copying changes nothing in the source header."""
    header = _header(PatientID="4711", DeidentificationMethod="")
    before = header.to_json()
    StudyAttributes.of(header)
    assert header.to_json() == before


def test_the_digest_follows_what_is_copied() -> None:
    """Another patient or order gives another digest; what is not copied does not."""
    digest = StudyAttributes.of(_header(PatientID="4711")).digest
    assert StudyAttributes.of(_header(PatientID="4711", KVP="120")).digest == digest
    assert StudyAttributes.of(_header(PatientID="4712")).digest != digest
    assert StudyAttributes.of(_header(PatientID="4711", AccessionNumber="A")).digest != digest


def test_the_time_zone_is_the_source_s() -> None:
    """Times are written on the clock that the source states."""
    assert StudyAttributes.of(_header(TimezoneOffsetFromUTC="-0530")).time_zone == timezone(
        -timedelta(hours=5, minutes=30)
    )
    assert StudyAttributes.of(_header()).time_zone is None
    assert StudyAttributes.of(_header(TimezoneOffsetFromUTC="odd")).time_zone is None


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", "Müller^Jürgen"),
        ("ISO_IR 100", "Müller^Jürgen"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_survive_in_every_character_set(refused: WriteContext, character_set: str | list[str], name: str) -> None:
    """A name is the same characters in the same character set after it was written and read."""
    header = deepcopy(refused.source[0])
    header.SpecificCharacterSet = character_set
    header.add_new("PatientName", "PN", name)
    ctx = replace(refused, source=(header,))
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    again = pydicom.dcmread(BytesIO(to_bytes(complete(dataset, ctx, "summary"))))
    assert again.SpecificCharacterSet == character_set
    assert str(again.PatientName) == name
