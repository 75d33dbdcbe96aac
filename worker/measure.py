"""Labels on native slices into findings: volumes by slice shares, sides, axes, densities and warnings.

A voxel stands for its pixel area times its slice's own share of the distance along the normal. Densities are read
from the unclipped HU. Nothing that the model marked is dropped here; what may not be blood is said in a warning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ichor.errors import GeometryError
from worker.axes import abc2_ml, axes_of
from worker.components import Parts, parts_of
from worker.density import DENSE_HU, density_warnings, parts_of_finding
from worker.findings import Coverage, Finding, Laterality, Measurement, PixelJi, PointMm
from worker.head import Head, survey_head
from worker.midline import Midline, fit_midline, side_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.spec import LabelSpec, ModelSpec
    from worker.axes import Axes
    from worker.members import Members
    from worker.reason import Reason
    from worker.volume import Volume

__all__ = ["Coverage", "Finding", "Laterality", "Measurement", "PixelJi", "PointMm", "measure"]

ABC2_LABELS = frozenset({"IPH"})  # the only compartment for which ABC/2 was validated (Kothari 1996)
SCALE_TRUSTED = (0.5, 2.0)


def measure(
    volume: Volume,
    labels_kji: npt.NDArray[np.uint8],
    spec: ModelSpec,
    member_volumes_ml: npt.NDArray[np.float64],
    *,
    grid_volumes_ml: npt.NDArray[np.float64] | None = None,
    head: Head | None = None,
    members: Members | None = None,
) -> Measurement:
    """Measure every label of the model that has at least one voxel.

    Args:
        volume: The native slices.
        labels_kji: Spec label indices on them, same shape.
        spec: The model's labels.
        member_volumes_ml: (members, labels) volume of each member's own answer, counted on the model's grid.
        grid_volumes_ml: (labels,) volume of the ensemble's answer on the same grid (`GridMapping.volumes_ml`). Members
            are scaled by the ensemble's native volume against it, which takes out what slices and grid count
            differently; without it, or where the ratio is outside SCALE_TRUSTED, members count as they are.
        head: What the gate's second look found; surveyed here where it is not given.
        members: Each member's own labels, to count how many agree on each part.
    """
    if labels_kji.shape != volume.hu_kji.shape:
        raise GeometryError(f"Labels {labels_kji.shape} and slices {volume.hu_kji.shape} do not match.")
    head = survey_head(volume) if head is None else head
    present = np.unique(labels_kji)
    midline = fit_midline(head) if present.any() else None
    findings: list[Finding] = []
    warnings: list[Reason] = []
    for column, label in enumerate(spec.labels):
        parts = parts_of(labels_kji == label.index, volume) if label.index in present else None
        if parts is None:
            continue
        finding = _finding(volume, label, parts, head, midline, members)
        volumes_ml = member_volumes_ml[:, column] if member_volumes_ml.size else np.empty(0)
        on_grid = None if grid_volumes_ml is None else float(grid_volumes_ml[column])
        findings.append(_with_range(finding, volumes_ml, on_grid))
        warnings.extend(density_warnings(label.name, finding.parts))
    total = sum(finding.volume_ml for finding in findings if finding.haemorrhage)
    return Measurement(
        findings=tuple(findings),
        total_haemorrhage_ml=float(total),
        coverage=head.coverage,
        warnings=tuple(warnings),
    )


def _finding(
    volume: Volume, label: LabelSpec, parts: Parts, head: Head, midline: Midline | None, members: Members | None
) -> Finding:
    points = _points_lps(volume, parts)
    hu = volume.hu_kji[parts.k, parts.j, parts.i]
    areas = np.bincount(parts.k, minlength=len(volume.slices)).astype(np.float64)
    key_slice = int(areas.argmax())
    axes = _axes_on(volume, parts, key_slice)
    abc2 = None
    if label.name in ABC2_LABELS and parts.counted == 1:
        abc2 = abc2_ml(areas, volume.shares_mm, long_mm=axes.long_mm, short_mm=axes.short_mm)
    laterality: Laterality = "undetermined"
    if midline is not None:
        laterality = side_of(midline.left_of_mm(points), parts.voxel_ml, parts.part)
    volume_ml = parts.volume_ml
    return Finding(
        label=label.name,
        title=label.title,
        index=label.index,
        haemorrhage=label.haemorrhage,
        volume_ml=volume_ml,
        volume_range_ml=(volume_ml, volume_ml),
        laterality=laterality,
        touches_edge=_touches_edge(volume, parts),
        components=parts.counted,
        long_axis_mm=axes.long_mm,
        short_axis_mm=axes.short_mm,
        abc2_ml=abc2,
        median_hu=float(np.median(hu)),
        share_above_100_hu=float((hu > DENSE_HU).mean()),
        bounding_box_lps_mm=_bounding_box(volume, points, parts),
        centroid_lps_mm=_point(parts.voxel_ml @ points / volume_ml),
        key_slice=key_slice,
        long_axis_lps_mm=_ends_lps(volume, key_slice, axes.long_ji),
        long_axis_ji=axes.long_ji,
        short_axis_lps_mm=_ends_lps(volume, key_slice, axes.short_ji),
        short_axis_ji=axes.short_ji,
        parts=parts_of_finding(volume, parts, points, head, midline, label=label.index, members=members),
    )


def _with_range(finding: Finding, members_ml: npt.NDArray[np.float64], on_grid_ml: float | None) -> Finding:
    """Set the members' range, widened to hold the volume itself: an average of maps may lie outside its members."""
    if not len(members_ml):
        return finding
    scale = 1.0 if not on_grid_ml else finding.volume_ml / on_grid_ml
    if not SCALE_TRUSTED[0] <= scale <= SCALE_TRUSTED[1]:
        scale = 1.0
    low, high = float(members_ml.min()) * scale, float(members_ml.max()) * scale
    return replace(finding, volume_range_ml=(min(low, finding.volume_ml), max(high, finding.volume_ml)))


def _axes_on(volume: Volume, parts: Parts, key_slice: int) -> Axes:
    """Measure the largest connected region on one slice."""
    here = parts.k == key_slice
    j, i = parts.j[here], parts.i[here]
    region = np.zeros((int(j.max() - j.min()) + 1, int(i.max() - i.min()) + 1), dtype=bool)
    region[j - j.min(), i - i.min()] = True
    numbered, _ = ndimage.label(region, np.ones((3, 3)))
    number = numbered[j - j.min(), i - i.min()]
    largest = number == 1 + int(np.bincount(number)[1:].argmax())
    return axes_of(
        j[largest],
        i[largest],
        row_spacing_mm=volume.row_spacing_mm,
        column_spacing_mm=volume.column_spacing_mm,
    )


def _touches_edge(volume: Volume, parts: Parts) -> bool:
    """Say whether a voxel lies in an end slice or on the border of the image: what lies beyond was not scanned."""
    last = np.array(volume.hu_kji.shape) - 1
    return any(
        bool(((index == 0) | (index == end)).any())
        for index, end in zip((parts.k, parts.j, parts.i), last, strict=True)
    )


def _points_lps(volume: Volume, parts: Parts) -> npt.NDArray[np.float64]:
    """Give the patient position of every voxel, (N, 3)."""
    corners = np.array([one.position_lps_mm for one in volume.slices], dtype=np.float64)
    points: npt.NDArray[np.float64] = (
        corners[parts.k]
        + np.outer(parts.j * volume.row_spacing_mm, volume.column_cosine)
        + np.outer(parts.i * volume.column_spacing_mm, volume.row_cosine)
    )
    return points


def _bounding_box(volume: Volume, points: npt.NDArray[np.float64], parts: Parts) -> tuple[PointMm, PointMm]:
    """Give the corners of the box that holds all voxels with their extent, smallest coordinates first."""
    half_pixel = (
        np.abs(volume.row_cosine) * volume.column_spacing_mm + np.abs(volume.column_cosine) * volume.row_spacing_mm
    ) / 2
    half = half_pixel + np.outer(volume.shares_mm[parts.k] / 2, np.abs(volume.normal))
    return _point((points - half).min(axis=0)), _point((points + half).max(axis=0))


def _ends_lps(volume: Volume, k: int, ends: tuple[PixelJi, PixelJi]) -> tuple[PointMm, PointMm]:
    return volume.lps_of(k, *ends[0]), volume.lps_of(k, *ends[1])


def _point(values: npt.NDArray[np.float64]) -> PointMm:
    return float(values[0]), float(values[1]), float(values[2])
