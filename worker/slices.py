"""One slice: where it lies in the patient and how its stored values become HU.

Reads single-frame CT (PS3.3 C.7.6.2 Image Plane) and Enhanced or Legacy Converted Enhanced multi-frame CT (PS3.3
C.7.6.16 functional groups). A frame without a usable plane gives no slice; the gate says so in words.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydicom.valuerep import DT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydicom import Dataset

_TIMED = re.compile(r"\d{10}")  # PS3.5 6.2, DT: YYYYMMDDHH at least
PointMm = tuple[float, float, float]
Cosine = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One frame's place, spacing and rescale; positions in LPS millimetres."""

    path: Path
    frame: int | None
    """0-based frame in a multi-frame file; None in a single-frame one."""
    sop_instance_uid: str
    sop_class_uid: str
    position_lps_mm: PointMm
    """Centre of the first transmitted pixel (j = 0, i = 0)."""
    row_cosine: Cosine
    """Direction in which the column index i grows."""
    column_cosine: Cosine
    """Direction in which the row index j grows."""
    row_spacing_mm: float
    """Distance between rows (dy), first value of PixelSpacing."""
    column_spacing_mm: float
    """Distance between columns (dx), second value of PixelSpacing."""
    rescale_slope: float
    """NaN where the header names none: such values are no HU."""
    rescale_intercept: float
    rows: int
    columns: int
    acquired_at: datetime | None


def slices_of(path: Path, header: Dataset) -> tuple[Slice, ...]:
    """Read the slices of one file from its header; frames without position, orientation or spacing are left out."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        single = _slice(path, None, header, (header,))
        return () if single is None else (single,)
    shared = tuple(header.get("SharedFunctionalGroupsSequence") or ())
    found = (
        _slice(path, frame, header, (*_groups(group), *(g for item in shared for g in _groups(item)), header))
        for frame, group in enumerate(header.PerFrameFunctionalGroupsSequence)
    )
    return tuple(one for one in found if one is not None)


def acquired_at(header: Dataset, *extra: Dataset) -> datetime | None:
    """Give the time of acquisition in UTC; a time without TimezoneOffsetFromUTC counts as this host's local time.

    A date without the hour is no time: read as midnight, it would make a scan of this evening an old one.
    """
    text = str(_first((*extra, header), ("FrameAcquisitionDateTime", "AcquisitionDateTime")) or "").strip()
    if not _TIMED.match(text) and header.get("AcquisitionDate") and header.get("AcquisitionTime"):
        text = f"{header.AcquisitionDate}{header.AcquisitionTime}".strip()
    if not _TIMED.match(text):
        return None
    offset = str(header.get("TimezoneOffsetFromUTC") or "").strip()
    if offset and not any(sign in text for sign in "+-"):
        text += offset
    try:
        local = DT(text)
        return datetime.combine(local.date(), local.timetz()).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Give exactly `count` finite numbers, or None where the element holds anything else."""
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        values = tuple(float(part) for part in (value if count > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def _slice(path: Path, frame: int | None, header: Dataset, places: tuple[Dataset, ...]) -> Slice | None:
    """Build a slice from the first place that names each element."""
    position = numbers(_first(places, ("ImagePositionPatient",)), 3)
    orientation = numbers(_first(places, ("ImageOrientationPatient",)), 6)
    spacing = numbers(_first(places, ("PixelSpacing",)), 2)
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if position is None or orientation is None or spacing is None or min(spacing) <= 0 or min(rows, columns) < 1:
        return None
    row_cosine, column_cosine = _unit(orientation[:3]), _unit(orientation[3:])
    if row_cosine is None or column_cosine is None:
        return None
    slope = numbers(_first(places, ("RescaleSlope",)), 1)
    intercept = numbers(_first(places, ("RescaleIntercept",)), 1)
    return Slice(
        path=path,
        frame=frame,
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        position_lps_mm=(position[0], position[1], position[2]),
        row_cosine=row_cosine,
        column_cosine=column_cosine,
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
        rescale_slope=math.nan if slope is None or slope[0] == 0 else slope[0],
        rescale_intercept=math.nan if intercept is None else intercept[0],
        rows=rows,
        columns=columns,
        acquired_at=acquired_at(header, *places),
    )


def _unit(vector: tuple[float, ...]) -> Cosine | None:
    length = math.hypot(*vector)
    if not 0.9 < length < 1.1:  # DS rounding moves a cosine by 1e-4 at most; anything else is no direction
        return None
    return vector[0] / length, vector[1] / length, vector[2] / length


def _groups(item: Dataset) -> Iterable[Dataset]:
    """Yield the functional group macros of one frame (PS3.3 C.7.6.16): each is a sequence of one item."""
    for element in item:
        if element.VR == "SQ" and element.value:
            yield element.value[0]


def _first(places: tuple[Dataset, ...], keywords: tuple[str, ...]) -> Any:
    """Give the first non-empty value among the places, in order."""
    for place in places:
        for keyword in keywords:
            value = place.get(keyword)
            if value is not None and value != "":
                return value
    return None
