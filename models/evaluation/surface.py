"""Distances between the surfaces of two masks, in mm at the voxels' true places, whatever tilt and slice distances.

A surface is the mask's voxels with a face to the outside (the border of the image is outside). Where one mask is empty
and the other is not, distances are infinite and are counted as such; where both are, there is none.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.evaluation.grid import MaskGrid

NSD_TOLERANCE_MM = 0.42
"""What INSTANCE 2022 forgives, its usual in-plane spacing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceFigures:
    """Distances of two surfaces; None where both masks are empty, infinite where one is."""

    hd_mm: float | None
    hd95_mm: float | None
    nsd: float | None  # also None on sheared grids and uneven slices, for which surface elements are not tabled


def surface_figures(
    answer: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    grid: MaskGrid,
    *,
    tolerance_mm: float = NSD_TOLERANCE_MM,
) -> SurfaceFigures:
    """Measure two masks of one grid."""
    if not answer.any() and not truth.any():
        return SurfaceFigures(hd_mm=None, hd95_mm=None, nsd=None)
    if not answer.any() or not truth.any():
        return SurfaceFigures(hd_mm=math.inf, hd95_mm=math.inf, nsd=0.0)
    of_answer, of_truth = _surface_mm(answer, grid), _surface_mm(truth, grid)
    there = KDTree(of_truth).query(of_answer)[0]
    back = KDTree(of_answer).query(of_truth)[0]
    return SurfaceFigures(
        hd_mm=float(max(there.max(), back.max())),
        hd95_mm=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        nsd=None if grid.sheared or grid.slices is not None else _nsd(answer, truth, grid, tolerance_mm),
    )


def _surface_mm(mask: npt.NDArray[np.bool_], grid: MaskGrid) -> npt.NDArray[np.float64]:
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    inner = np.pad(mask[box], 1)
    surface = inner & ~ndimage.binary_erosion(inner)
    return grid.places_mm(np.argwhere(surface) - 1 + np.array([side.start for side in box]))


def _nsd(
    answer: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], grid: MaskGrid, tolerance_mm: float
) -> float | None:
    """Return the share of both surfaces, by area, that lies within the tolerance of the other (DeepMind's NSD)."""
    # torch and MONAI take seconds to import, and only this figure needs them
    import torch
    from monai.metrics.surface_dice import compute_surface_dice

    box = ndimage.find_objects((answer | truth).view(np.uint8))[0]
    pair = [torch.from_numpy(np.pad(mask[box], 1))[None, None] for mask in (answer, truth)]
    with warnings.catch_warnings():  # MONAI 1.6 warns of its own deprecated argument
        warnings.simplefilter("ignore", FutureWarning)
        value = compute_surface_dice(
            pair[0],
            pair[1],
            class_thresholds=[tolerance_mm],
            include_background=True,
            spacing=grid.spacing_mm,
            use_subvoxels=True,
        )
    return float(value[0, 0])
