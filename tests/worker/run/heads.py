"""Small synthetic heads, with or without a bleed, scanned at times of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from tests.worker.geometry.scans import Floats, head_hu, head_scan

Draw = Callable[[Floats], Floats]
WHOLE_MM = tuple(np.arange(-80.0, 81.0, 5.0).tolist())
BLEED_CENTRE_MM = np.array([30.0, 0.0, 10.0])


def bled(radius_mm: float) -> Draw:
    """Draw a head with a ball of 68 HU in its left half."""

    def draw(points: Floats) -> Floats:
        hu = head_hu(points)
        hu[np.linalg.norm(points - BLEED_CENTRE_MM, axis=-1) < radius_mm] = 68.0
        return hu

    return draw


def write_head(
    folder: Path,
    name: str,
    scanned_at: datetime,
    draw: Draw = head_hu,
    *,
    study: str = "study",
    heights_mm: Iterable[float] = WHOLE_MM,
    **elements: Any,
) -> list[Path]:
    """Write one series of a head that was scanned at an aware time; give its files."""
    time = {
        "AcquisitionDate": scanned_at.strftime("%Y%m%d"),
        "AcquisitionTime": scanned_at.strftime("%H%M%S"),
        "TimezoneOffsetFromUTC": scanned_at.strftime("%z"),
        "StudyInstanceUID": generate_uid(entropy_srcs=[study]),
        "PatientID": "MARKED-ID",
        "PatientName": "Marked^Patient",
        "PatientBirthDate": "19600102",
    }
    scan = head_scan(
        heights_mm=tuple(heights_mm), hu_of_points=draw, series=f"{study}/{name}", elements=time | elements
    )
    return scan.write(folder / study / name)
