"""The few attributes that filing an instance needs, read from its bytes within fixed bounds.

Pixel data and every other value stay undecoded. Refused are: data sets that are not encoded as their transfer syntax
says, that end too early, whose attributes do not stand within the first MiB, or whose UIDs are not UIDs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom._uid_dict import UID_dictionary
from pydicom.charset import decode_bytes, python_encoding
from pydicom.valuerep import TEXT_VR_DELIMS

from ichor.errors import BadHeader
from ichor.store import UID_MAX_LENGTH, UID_PATTERN
from listener.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    BeyondStart,
    ElementWalk,
    TruncatedDataSet,
)

if TYPE_CHECKING:
    from listener.elements import Encoding

MAX_HEADER_BYTES = 1 << 20
MAX_VALUE_BYTES = 1024
"""The longest value that is read: LO and PN hold at most 64 characters a component (PS3.5 6.2)."""
MAX_INFLATED_BYTES = 2 << 30
MAX_INFLATION = 100
MIN_INFLATED_LIMIT_BYTES = 64 << 20
"""A deflated data set that grows beyond these is taken for a bomb: CT deflates to a half, air alone to a thousandth."""
_INFLATE_STEP_BYTES = 1 << 20

DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
"""PS3.5 A.5, A.7, A.10: the whole data set is a deflate stream."""

TRANSFER_SYNTAXES = frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax")

_STAND_ALONE_CHARACTER_SETS = frozenset(("ISO_IR 192", "GB18030", "GBK"))
"""PS3.3 C.12.1.1.2: used without code extensions."""

# PS3.6 Table 6-1: the attributes that are read, by the field of `Header` that they fill.
_SPECIFIC_CHARACTER_SET = 0x00080005
_UIDS = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
}
_TEXTS = {
    0x00080020: "study_date",
    0x00080050: "accession_number",
    0x00080060: "modality",
    0x00080070: "manufacturer",
    0x00080090: "referring_physician_name",
    0x00081030: "study_description",
    0x0008103E: "series_description",
    0x00100010: "patient_name",
    0x00100020: "patient_id",
    0x00100021: "issuer_of_patient_id",
    0x00100030: "patient_birth_date",
    0x00100040: "patient_sex",
    0x00200010: "study_id",
    0x00380010: "admission_id",
}
_SERIES_NUMBER = 0x00200011
_FIRST_TAG, _LAST_READ = 0x00080000, 0x00380010
_READ = frozenset((_SPECIFIC_CHARACTER_SET, *_UIDS, *_TEXTS, _SERIES_NUMBER))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the node knows of an instance without decoding it; absent texts are empty."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    series_number: int | None
    study_date: str
    accession_number: str
    modality: str
    manufacturer: str
    study_description: str
    series_description: str
    patient_name: str
    patient_id: str
    issuer_of_patient_id: str
    patient_birth_date: str
    patient_sex: str
    referring_physician_name: str
    study_id: str
    admission_id: str

    @property
    def identity(self) -> str:
        """SHA-256 in hex over who was scanned, and for which order; spelling alone (padding, empty parts) is none."""
        parts = (self.study_instance_uid, *self._who)
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()

    @property
    def registration(self) -> Registration:
        """What a correction of registration may change."""
        return Registration(
            attributes=(
                *self._who,
                self.patient_sex,
                self.study_date,
                self.study_description,
                _name(self.referring_physician_name),
                self.study_id,
                self.admission_id,
            ),
            study_instance_uid=self.study_instance_uid,
            series_instance_uid=self.series_instance_uid,
        )

    @property
    def _who(self) -> tuple[str, ...]:
        return (
            self.patient_id,
            self.issuer_of_patient_id,
            _name(self.patient_name),
            self.patient_birth_date,
            self.accession_number,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Where an instance is filed, and what it says of patient and order."""

    attributes: tuple[str, ...]
    study_instance_uid: str
    series_instance_uid: str

    def corrected_by(self, later: Registration) -> bool:
        """Say whether a later version of the same image files it under another patient, order or study.

        A series that moves to another study keeps its UID; another series of the same patient and order is none.
        """
        moved = self.study_instance_uid != later.study_instance_uid
        return self.attributes != later.attributes or (moved and self.series_instance_uid == later.series_instance_uid)


def read_header(
    data: memoryview, transfer_syntax_uid: str, *, whole: bool = True, size_bytes: int | None = None
) -> Header:
    """Read the header of an encoded data set and check that the data set is whole.

    Args:
        data: the data set as received, without file meta information, or its start.
        transfer_syntax_uid: how it is encoded.
        whole: False where `data` is only the start of a data set that was checked when it came.
        size_bytes: of the whole data set, where `data` is only its start and the whole is to be checked.

    Raises:
        BadHeader: it is damaged, too large, or lacks a UID; `TruncatedDataSet` where it ends too early.
        BeyondStart: there is more to be looked at than `data`.
    """
    if transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise BadHeader("The transfer syntax is not known")
    if transfer_syntax_uid in DEFLATED:
        if size_bytes is not None and len(data) < size_bytes:
            raise BeyondStart
        start = _inflated_start(data, whole=whole)
        values = _values(start, ElementWalk(start, EXPLICIT_LITTLE), whole=False)
    else:
        values = _values(data, ElementWalk(data, encoding_of(transfer_syntax_uid), size_bytes=size_bytes), whole=whole)
    return _header(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the start of a data set says of the whole."""

    header: Header
    size_bytes: int
    """Of the data set, where the last element that begins in its start is the last of all."""


def read_start(data: memoryview, transfer_syntax_uid: str) -> Forecast | None:
    """Read the header while the rest of the data set is still coming; None where the start does not tell.

    A data set that comes out as large as this says would be read like this by `read_header`, too.
    """
    if transfer_syntax_uid in DEFLATED or transfer_syntax_uid not in TRANSFER_SYNTAXES:
        return None
    values: dict[int, bytes] = {}
    reached = 0
    try:
        for tag, _, start, end in ElementWalk(data, encoding_of(transfer_syntax_uid), size_bytes=sys.maxsize):
            _take_value(values, data, tag, start, end)
            reached = end
    except BeyondStart:
        with contextlib.suppress(BadHeader):
            return Forecast(header=_header(values), size_bytes=reached)
    except BadHeader:
        pass  # it may be padding, or another fault: `read_header` says which
    return None


def valid_uid(uid: str) -> bool:
    """Say whether `uid` is made of digits and dots only and not too long (PS3.5 9.1), so that it is no path."""
    return len(uid) <= UID_MAX_LENGTH and UID_PATTERN.fullmatch(uid) is not None


def _name(value: str) -> str:
    """Return a person's name without empty components at the ends of its groups (PS3.5 6.2.1.1)."""
    return "=".join(group.rstrip("^ ") for group in value.split("=")).rstrip("=")


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """Return how the elements of a data set are encoded; a deflated one is explicit little endian once inflated."""
    if transfer_syntax_uid in {"1.2.840.10008.1.2", "1.2.840.10008.1.20"}:
        return IMPLICIT_LITTLE
    if transfer_syntax_uid == "1.2.840.10008.1.2.2":
        return EXPLICIT_BIG
    return EXPLICIT_LITTLE


def _values(data: memoryview, elements: ElementWalk, *, whole: bool) -> dict[int, bytes]:
    """Collect the raw values that are read; with `whole`, go on to the end to see that nothing is missing there."""
    values: dict[int, bytes] = {}
    try:
        for tag, _, start, end in elements:
            _take_value(values, data, tag, start, end)
            if not whole and tag > _LAST_READ:
                break
    except TruncatedDataSet:
        if whole:
            raise
    return values


def _take_value(values: dict[int, bytes], data: memoryview, tag: int, start: int, end: int) -> None:
    if tag < _FIRST_TAG:
        raise BadHeader("The data set begins with elements that do not belong into one")  # PS3.10 7.1
    if tag in _READ and end <= MAX_HEADER_BYTES:
        until = min(end, start + MAX_VALUE_BYTES)
        if until > len(data):
            raise BeyondStart
        values.setdefault(tag, bytes(data[start:until]))


def _inflated_start(data: memoryview, *, whole: bool) -> memoryview:
    """Inflate the first MiB; with `whole`, go on without keeping anything to see that the stream ends (PS3.5 A.5)."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    limit_bytes = min(MAX_INFLATED_BYTES, max(MIN_INFLATED_LIMIT_BYTES, MAX_INFLATION * len(data)))
    try:
        start = stream.decompress(data, MAX_HEADER_BYTES)
        inflated_bytes = len(start)
        while whole and not stream.eof and stream.unconsumed_tail:
            inflated_bytes += len(stream.decompress(stream.unconsumed_tail, _INFLATE_STEP_BYTES))
            if inflated_bytes > limit_bytes:
                raise BadHeader("The deflated data set is larger than is taken in")
    except zlib.error as error:
        raise BadHeader("The data set is not deflated as its transfer syntax says") from error
    if whole and not stream.eof:
        raise TruncatedDataSet
    return memoryview(start)


def _header(values: dict[int, bytes]) -> Header:
    uids = {}
    for tag, field in _UIDS.items():
        uid = values.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace")
        if not uid:
            raise BadHeader(f"{_element(tag)} is missing from the first {MAX_HEADER_BYTES} bytes")
        if not valid_uid(uid):
            raise BadHeader(f"{_element(tag)} is not a UID")
        uids[field] = uid
    encodings = _encodings(values.get(_SPECIFIC_CHARACTER_SET, b""))
    texts = {field: _text(values.get(tag, b""), encodings) for tag, field in _TEXTS.items()}
    return Header(series_number=_integer(values.get(_SERIES_NUMBER, b"")), **uids, **texts)


def _element(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _encodings(specific_character_set: bytes) -> list[str]:
    """Return Python's names of the character sets (PS3.3 C.12.1.1.2); names that nobody knows are left out."""
    names = [name.strip() for name in specific_character_set.decode("ascii", "replace").strip("\0 ").split("\\")]
    if names[0] in _STAND_ALONE_CHARACTER_SETS:
        return [python_encoding[names[0]]]
    known = [name for name in names if name in python_encoding and name not in _STAND_ALONE_CHARACTER_SETS]
    return [python_encoding[name] for name in known] or [python_encoding[""]]


def _text(value: bytes, encodings: list[str]) -> str:
    try:
        text = decode_bytes(value, encodings, TEXT_VR_DELIMS) if b"\x1b" in value else value.decode(encodings[0])
    except (LookupError, UnicodeError):
        text = value.decode("ascii", "replace")
    return text.replace("\0", "").strip()


def _integer(value: bytes) -> int | None:
    """Read an IS value, None where it is absent, no number, or none that the standard allows (and a column holds)."""
    try:
        number = int(value.split(b"\\")[0].strip(b"\0 "))
    except ValueError:
        return None
    return number if -(2**31) <= number < 2**31 else None  # PS3.5 Table 6.2-1, IS
