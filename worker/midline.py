"""The head's own midline, and the side on which something lies.

The midline is the plane in which the mirrored brain covers itself best, not the middle of the image: heads lie turned
and off centre. The patient's left is where x grows (LPS). Rules for the side, per connected part:

- bilateral: a fifth or more of it lies beyond 10 mm on either side;
- midline: its centre is within 3 mm of the plane, or within 10 mm with a fifth or more of it on either side;
- else left or right, by its centre.

A label is bilateral where parts lie on both sides, else it has the side that most of it lies on. Parts under 5 % of the
label and under 0.1 mL have no say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, optimize

from worker.findings import Laterality

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.head import Head

LEAST_BRAIN_ML = 150.0  # less has no symmetry to find
CELL_MM = 5.0
POINTS = 3000  # of the brain's blocks, evenly drawn: more move the plane by less than half a degree
FAR_MM = 10.0
NEAR_MM = 3.0  # the fit is no better than this
FIFTH = 0.2
TURNS_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)  # starting turns of the head about its long axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Midline:
    """A plane: points p with normal . p = offset; the unit normal points to the patient's left."""

    normal_lps: tuple[float, float, float]
    offset_mm: float

    def left_of_mm(self, points_lps_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Give how far points (N, 3) lie to the patient's left of the plane; negative on the right."""
        return np.asarray(points_lps_mm @ np.asarray(self.normal_lps) - self.offset_mm, dtype=np.float64)


def fit_midline(head: Head) -> Midline | None:
    """Find the plane of best mirror symmetry; None without enough brain to find one."""
    if head.brain_ml < LEAST_BRAIN_ML:
        return None
    overlap = _Overlap(head.points_lps_mm, head.point_ml)
    starts = [np.array([np.radians(turn), 0.0, 0.0]) for turn in TURNS_DEG]
    start = min(starts, key=lambda x: round(overlap.lost(x), 6))
    simplex = start + np.array([[0, 0, 0], [0.14, 0, 0], [0, 0.14, 0], [0, 0, 5.0]])  # 8 degrees, 8 degrees, 5 mm
    options = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-5, "maxfev": 150}
    found = optimize.minimize(overlap.lost, start, method="Nelder-Mead", options=options)
    normal, offset_mm = overlap.plane(found.x)
    return Midline(normal_lps=(float(normal[0]), float(normal[1]), float(normal[2])), offset_mm=offset_mm)


def side_of(
    left_of_mm: npt.NDArray[np.float64], voxel_ml: npt.NDArray[np.float64], part: npt.NDArray[np.intp]
) -> Laterality:
    """Say on which side a label lies, from each voxel's distance to the plane, volume and part."""
    total_ml = voxel_ml.sum()
    by_side: dict[Laterality, float] = {}
    for number in range(int(part.max()) + 1):
        mine = part == number
        part_ml = float(voxel_ml[mine].sum())
        if number > 0 and part_ml < 0.05 * total_ml and part_ml < 0.1:  # parts come largest first
            continue
        side = _side_of_part(left_of_mm[mine], voxel_ml[mine])
        by_side[side] = by_side.get(side, 0.0) + part_ml
    if "bilateral" in by_side or {"left", "right"} <= by_side.keys():
        return "bilateral"
    return max(by_side, key=lambda side: by_side[side])


def _side_of_part(left_of_mm: npt.NDArray[np.float64], voxel_ml: npt.NDArray[np.float64]) -> Laterality:
    def share(where: npt.NDArray[np.bool_]) -> float:
        return float(voxel_ml[where].sum() / voxel_ml.sum())

    if min(share(left_of_mm > FAR_MM), share(left_of_mm < -FAR_MM)) >= FIFTH:
        return "bilateral"
    centre = float((left_of_mm * voxel_ml).sum() / voxel_ml.sum())
    astride = min(share(left_of_mm > 0), share(left_of_mm < 0)) >= FIFTH
    if abs(centre) < NEAR_MM or (abs(centre) < FAR_MM and astride):
        return "midline"
    return "left" if centre > 0 else "right"


class _Overlap:
    """How much of the brain a mirror plane, given as (turn, lean, shift), leaves without a counterpart."""

    def __init__(self, points: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> None:
        every = max(1, len(points) // POINTS)
        self._points = points[::every]
        self._weight = weight[::every] / weight[::every].sum()
        self._centre = weight @ points / weight.sum()
        self._low = points.min(axis=0) - 4 * CELL_MM
        counts = np.ceil((points.max(axis=0) + 4 * CELL_MM - self._low) / CELL_MM).astype(int)
        edges = [low + CELL_MM * np.arange(n + 1) for low, n in zip(self._low, counts, strict=True)]
        filled, _ = np.histogramdd(points, bins=edges, weights=weight)
        self._density = ndimage.gaussian_filter(filled, 1.5)
        self._density /= self._density.max()

    def plane(self, x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        turn, lean, shift_mm = x
        normal = np.array([np.cos(turn) * np.cos(lean), np.sin(turn) * np.cos(lean), np.sin(lean)])
        return normal, float(normal @ self._centre + shift_mm)

    def lost(self, x: npt.NDArray[np.float64]) -> float:
        normal, offset_mm = self.plane(x)
        mirrored = self._points - 2.0 * np.outer(self._points @ normal - offset_mm, normal)
        cells = ((mirrored - self._low) / CELL_MM - 0.5).T
        return 1.0 - float(self._weight @ ndimage.map_coordinates(self._density, cells, order=1, mode="constant"))
