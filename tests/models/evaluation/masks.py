"""Small masks and grids of evaluation tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.evaluation.grid import MaskGrid

Mask = npt.NDArray[np.bool_]


def grid_of(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0), shear: float = 0.0
) -> MaskGrid:
    """Return a grid at the origin; `shear` mm are added in j for every step in k."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[1, 2] = shear
    return MaskGrid(shape=shape, affine_ras=affine)


def box(shape: tuple[int, int, int], *sides: tuple[int, int]) -> Mask:
    """Return a mask that is True in one box."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(low, high) for low, high in sides)] = True
    return mask


def blob(seed: int, shape: tuple[int, int, int] = (14, 12, 9)) -> Mask:
    """Return an irregular mask with holes and parts."""
    return np.asarray(np.random.default_rng(seed).random(shape) < 0.25)
