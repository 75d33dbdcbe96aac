"""Heads made of ellipsoids, whose intracranial space is known exactly: skull, scalp, neck, air and a headrest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.segmenter import OUTSIDE_HU, HeadGrid

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SPACING_MM = 1.5
SHAPE = (127, 153, 133)
CENTRE_MM = (100.0, 115.0, 100.0)
BRAIN_MM = (68.0, 85.0, 70.0)  # semi-axes of the space inside the skull, z y x
SKULL_MM, SCALP_MM = 6.0, 6.0


def places_mm() -> tuple[Volume, Volume, Volume]:
    """Return z, y and x of every voxel relative to the head's centre."""
    z, y, x = np.meshgrid(
        *(np.arange(n, dtype=np.float32) * SPACING_MM - c for n, c in zip(SHAPE, CENTRE_MM, strict=True)), indexing="ij"
    )
    return z, y, x


def _ellipsoid(larger_by_mm: float) -> Mask:
    z, y, x = places_mm()
    a, b, c = (axis + larger_by_mm for axis in BRAIN_MM)
    return np.asarray((z / a) ** 2 + (y / b) ** 2 + (x / c) ** 2 <= 1)


def head(*, skull_hole_mm: float = 0.0, swelling_mm: float = 0.0) -> tuple[Volume, Mask]:
    """Return HU and the intracranial space.

    `skull_hole_mm` is the radius of a craniectomy on the left side, through which the brain swells by `swelling_mm`.
    The spinal canal leaves through a foramen magnum of 30 mm; the neck is a cylinder of muscle.
    """
    z, y, x = places_mm()
    inside, outer, skin = (_ellipsoid(by) for by in (0.0, SKULL_MM, SKULL_MM + SCALP_MM))
    from_spine = np.hypot(y - 10, x)
    hu = np.full(SHAPE, -1000.0, dtype=np.float32)
    hu[(skin | ((from_spine < 50) & (z < -40))) & ~outer] = 45.0
    hu[outer & ~inside] = 900.0
    hu[(from_spine < 15) & (z < -50)] = 30.0
    hu[(from_spine >= 15) & (from_spine < 22) & (z < -70)] = 700.0
    hole = (np.hypot(z - 15, y) < skull_hole_mm) & (x > 0)
    swollen = _ellipsoid(swelling_mm)
    hu[hole & outer & ~inside] = 30.0
    hu[hole & _ellipsoid(swelling_mm + SCALP_MM) & (hu < -100)] = 45.0
    intracranial = np.asarray(inside | (hole & swollen))
    hu[intracranial] = 35.0
    headrest = (np.hypot(y, x) > 103) & (np.hypot(y, x) < 106) & (y > 0)
    hu[headrest & (hu < -100)] = 400.0
    noise = np.random.default_rng(1).normal(0, 5, SHAPE).astype(np.float32)
    return hu + noise, intracranial


def grid_of(hu: Volume, scanned: Mask | None = None) -> HeadGrid:
    """Put HU on a grid, with air where nothing was scanned."""
    seen = np.ones(hu.shape, dtype=bool) if scanned is None else scanned
    return HeadGrid(
        hu_zyx=np.where(seen, hu, np.float32(OUTSIDE_HU)),
        spacing_zyx_mm=(SPACING_MM, SPACING_MM, SPACING_MM),
        scanned_zyx=seen,
    )
