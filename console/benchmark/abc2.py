"""ABC/2 beside the voxel volume over lobulated bleeds, in the size groups of the literature.

Bleeds grow in the project's own phantoms, are cut into slices, and are measured both ways on the same slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from console.benchmark.figures import Benchmark, Figure, benchmark
from models.phantoms import LesionRequest, PhantomInvalid
from models.phantoms.head import head_lattice, make_head
from worker.axes import abc2_ml, axes_of
from worker.components import COUNTED_ML

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from models.phantoms.lattice import Lattice

GROUPS_ML = ((1.0, 5.0), (5.0, 25.0), (25.0, 80.0))
"""Below 5, 5 to 25, above 25 mL, as in the 2019 Deepwise study; volumes lie evenly over each group's logarithm."""
LATTICE_MM = 2.0
FINER = 4  # pixels of 0.5 mm, as scanners make them
SLICE_MM = 5.0
TRIES = 10  # seeds per bleed: not every head has room for every volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One bleed, measured both ways."""

    voxel_ml: float
    abc2_ml: float


def measure_abc2(*, heads: int, on_progress: Callable[[float], None] | None = None) -> Benchmark:
    """Measure `heads` bleeds, a third in each group."""
    lattice = head_lattice(spacing_zyx_mm=(LATTICE_MM,) * 3)
    pairs: list[list[Pair]] = [[] for _ in GROUPS_ML]
    for number in range(heads):
        group = number % len(GROUPS_ML)
        low, high = np.log(GROUPS_ML[group])
        step = (number // len(GROUPS_ML) + 0.5) / -(-heads // len(GROUPS_ML))
        pair = _pair(lattice, float(np.exp(low + step * (high - low))), first_seed=1 + number * TRIES)
        if pair is not None:
            pairs[group].append(pair)
        if on_progress is not None:
            on_progress((number + 1) / heads)
    figures = tuple(
        figure for (low, high), found in zip(GROUPS_ML, pairs, strict=True) for figure in _figures(low, high, found)
    )
    title = f"ABC/2 over {sum(map(len, pairs))} lobulated bleeds in slices of {SLICE_MM:g} mm"
    return benchmark(title, f"ichor benchmark abc2 --heads {heads}", figures)


def _figures(low_ml: float, high_ml: float, pairs: list[Pair]) -> tuple[Figure, ...]:
    name = f"{low_ml:g} to {high_ml:g} mL ({len(pairs)})"
    if not pairs:
        return ()
    voxel = np.array([pair.voxel_ml for pair in pairs])
    abc2 = np.array([pair.abc2_ml for pair in pairs])
    error = np.abs(abc2 - voxel) / voxel
    return (
        Figure(what=f"{name}: voxels, mean", value=float(voxel.mean()), unit="mL"),
        Figure(
            what=f"{name}: ABC/2, mean",
            value=float(abc2.mean()),
            unit="mL",
            ratio=float(abc2.mean() / voxel.mean()),
            peer="sum of voxels",
        ),
        Figure(what=f"{name}: difference, median", value=100.0 * float(np.median(error)), unit="%"),
    )


def _pair(lattice: Lattice, volume_ml: float, *, first_seed: int) -> Pair | None:
    """Grow one bleed of a single component and measure it; None where no head in a row had room for it."""
    for seed in range(first_seed, first_seed + TRIES):
        try:
            head = make_head(lattice, seed, (LesionRequest(kind="iph", volume_ml=volume_ml, lobulated=True),))
        except PhantomInvalid:
            continue
        pair = measure_both(head.bleeds[0].share)
        if pair is not None:
            return pair
    return None


def measure_both(share_zyx: npt.NDArray[np.float32]) -> Pair | None:
    """Cut a bleed on the lattice into slices and measure it; None where it falls into several components."""
    fine = np.pad(share_zyx, 1)
    fine = ndimage.zoom(fine, (LATTICE_MM, FINER, FINER), order=1, grid_mode=True, mode="grid-constant")
    slices = fine[int(SLICE_MM // 2) :: int(SLICE_MM)] >= 0.5  # planes of 1 mm: every fifth is a slice's middle
    numbered, found = ndimage.label(slices, np.ones((3, 3, 3)))
    pixel_mm = LATTICE_MM / FINER
    part_ml = np.bincount(numbered.ravel(), minlength=2)[1:] * SLICE_MM * pixel_mm**2 / 1000.0
    if found == 0 or (part_ml >= COUNTED_ML).sum() != 1:
        return None
    areas = slices.sum(axis=(1, 2)).astype(np.float64)
    regions, _ = ndimage.label(slices[int(areas.argmax())], np.ones((3, 3)))
    largest = regions == 1 + int(np.bincount(regions.ravel())[1:].argmax())
    j, i = np.nonzero(largest)
    axes = axes_of(j, i, row_spacing_mm=pixel_mm, column_spacing_mm=pixel_mm)
    estimate_ml = abc2_ml(areas, np.full(len(areas), SLICE_MM), long_mm=axes.long_mm, short_mm=axes.short_mm)
    return Pair(voxel_ml=float(part_ml.sum()), abc2_ml=estimate_ml)
