"""A result as an HL7 v2.5.1 ORU^R01 message: MSH PID PV1 ORC OBR [TQ1] {OBX}, in the same bytes whenever it is made.

The result status is always `R`, stored and not verified (HL7 Tables 0123, 0085): an algorithm never says "final".
Patient and order stand in the header of the stored summary object, the measures in `result.json`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.output import words

if TYPE_CHECKING:
    from datetime import datetime

    from pydicom import Dataset

    from worker.result import AnalysisResult

NOT_VERIFIED = "R"
STAT = "S"  # HL7 Table 0485
SERVICE = ("AIICH", words.SERIES_DESCRIPTION, "99ICHOR")
REPORT = ("18748-4", "Diagnostic imaging report", "LN")
STUDY = ("113014", "DICOM Study", "DCM")
VOLUME = ("118565006", "Volume", "SCT")
TOTAL = ("TOTAL", "Total haemorrhage volume", "99ICHOR")
MILLILITRE = ("mL", "milliliter", "UCUM")
RECENT = timedelta(hours=4)
"""Older scans, such as priors, are not put on top of anybody's worklist."""
CONTROL_ID_LENGTH = 20  # MSH-10 is ST(20)
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """MSH-3 to MSH-6: from whom, to whom."""

    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str


def control_id(sop_instance_uid: str) -> str:
    """Give MSH-10: the same for every repeat of a message."""
    return hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:CONTROL_ID_LENGTH].upper()


def oru(result: AnalysisResult, header: Dataset, address: Address, *, priority: bool) -> bytes:
    """Write the message of a result; `header` is that of its summary object."""
    accession = _text(header, "AccessionNumber")
    written = _moment(result.written_at)
    segments = [
        _msh(address, control_id(str(header.SOPInstanceUID)), written),
        _segment(
            "PID",
            {
                1: "1",
                3: _patient_id(header),
                5: _name(header),
                7: _text(header, "PatientBirthDate"),
                8: _text(header, "PatientSex"),
            },
        ),
        _segment("PV1", {1: "1", 2: "U"}),  # HL7 Table 0004: unknown; the images do not say
        _segment("ORC", {1: "RE", 3: accession}),
        _segment(
            "OBR",
            {
                1: "1",
                3: accession,
                4: _coded(SERVICE),
                7: _scanned(header),
                18: accession,
                22: written,
                25: NOT_VERIFIED,
            },
        ),
    ]
    if priority and result.alert and _recent(result):
        segments.append(_segment("TQ1", {1: "1", 9: STAT}))
    segments += [
        _segment("OBX", {1: str(number), **fields, 11: NOT_VERIFIED, 14: written})
        for number, fields in enumerate(_observations(result), start=1)
    ]
    return "".join(f"{segment}\r" for segment in segments).encode()


def _recent(result: AnalysisResult) -> bool:
    """Whether the scan was new when its result was made; without its time it came just before."""
    return result.scanned_at is None or result.written_at - result.scanned_at <= RECENT


def _observations(result: AnalysisResult) -> list[dict[int, str]]:
    texts = [words.headline(result), words.replaced(result)]
    observations = [{2: "TX", 3: _coded(REPORT), 5: escaped(text)} for text in texts if text is not None]
    observations += [
        {2: "NM", 3: _coded(VOLUME), 4: escaped(found.label), 5: f"{found.volume_ml:.1f}", 6: _coded(MILLILITRE)}
        for found in result.findings
    ]
    if result.total_haemorrhage_ml is not None:
        total = f"{result.total_haemorrhage_ml:.1f}"
        observations.append({2: "NM", 3: _coded(TOTAL), 5: total, 6: _coded(MILLILITRE)})
    observations.append({2: "ST", 3: _coded(STUDY), 5: escaped(result.study_instance_uid)})
    return observations


def escaped(text: str) -> str:
    """Write what has a meaning in HL7 as an escape sequence (v2.5.1 2.7); control characters become spaces."""
    return "".join(_ESCAPES.get(sign, sign if sign.isprintable() else " ") for sign in text)


def _msh(address: Address, message_control_id: str, written: str) -> str:
    fields = (
        "MSH",
        "^~\\&",
        escaped(address.sending_application),
        escaped(address.sending_facility),
        escaped(address.receiving_application),
        escaped(address.receiving_facility),
        written,
        "",
        "ORU^R01^ORU_R01",
        message_control_id,
        "P",
        "2.5.1",
        "",
        "",
        "",
        "",
        "",
        "UNICODE UTF-8",
    )
    return "|".join(fields)


def _segment(name: str, fields: dict[int, str]) -> str:
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def _coded(code: tuple[str, str, str]) -> str:
    return "^".join(escaped(part) for part in code)


def _text(header: Dataset, keyword: str) -> str:
    return escaped(str(header.get(keyword) or "").strip())


def _patient_id(header: Dataset) -> str:
    issuer = _text(header, "IssuerOfPatientID")
    identifier = _text(header, "PatientID")
    return f"{identifier}^^^{issuer}" if issuer else identifier


def _name(header: Dataset) -> str:
    """Turn a PN (PS3.5 6.2.1.1: prefix before suffix) into an XPN (suffix before prefix)."""
    alphabetic = str(header.get("PatientName") or "").split("=")[0]
    family, given, middle, prefix, suffix = (*alphabetic.split("^"), "", "", "", "", "")[:5]
    return "^".join(escaped(part.strip()) for part in (family, given, middle, suffix, prefix)).rstrip("^")


def _scanned(header: Dataset) -> str:
    return _text(header, "StudyDate") + _text(header, "StudyTime").split(".")[0]


def _moment(at: datetime) -> str:
    return at.strftime("%Y%m%d%H%M%S%z")
