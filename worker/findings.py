"""What was measured, as values: one finding per label, the coverage of the scan, and both together.

Positions are patient coordinates in millimetres (LPS: x grows to the patient's left, y to the back, z to the head);
pixel positions are (j, i) = (row, column) counted from 0 at pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worker.reason import Reason

PointMm = tuple[float, float, float]
PixelJi = tuple[float, float]
Laterality = Literal["left", "right", "bilateral", "midline", "undetermined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the head was scanned; lowest and highest are positions of the end slices along the normal."""

    whole_head: bool
    lowest_mm: float
    highest_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingPart:
    """One connected part of a label, by its unclipped voxels; distances are the smallest, None without a head."""

    volume_ml: float
    median_hu: float
    share_above_100_hu: float
    skull_mm: float | None
    falx_mm: float | None
    """To the midline plane, in which the falx lies."""
    members_agreeing: int | None = None
    """How many of the model's members give at least half of the part this label; None where nobody asked them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One label's measures over all its components, in the native slices."""

    label: str
    title: str
    index: int
    haemorrhage: bool
    volume_ml: float
    volume_range_ml: tuple[float, float]
    laterality: Laterality
    touches_edge: bool
    components: int
    long_axis_mm: float
    short_axis_mm: float
    abc2_ml: float | None
    median_hu: float
    share_above_100_hu: float
    bounding_box_lps_mm: tuple[PointMm, PointMm]
    centroid_lps_mm: PointMm
    key_slice: int
    """k of the slice on which the label's area is largest."""
    long_axis_lps_mm: tuple[PointMm, PointMm]
    long_axis_ji: tuple[PixelJi, PixelJi]
    short_axis_lps_mm: tuple[PointMm, PointMm]
    short_axis_ji: tuple[PixelJi, PixelJi]
    parts: tuple[FindingPart, ...] = ()
    """The parts counted as components, largest first; many small ones are cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Findings in the order of the model's labels, only those with at least one voxel."""

    findings: tuple[Finding, ...]
    total_haemorrhage_ml: float
    coverage: Coverage
    warnings: tuple[Reason, ...]
