"""Dice slice by slice, over the slices that truly hold blood: how 2D papers count, HGI-SAM's among them.

Slices that hold none do not count, however much is marked on them: never compare it with a Dice over scans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.evaluation.overlap import overlap_of

if TYPE_CHECKING:
    import numpy.typing as npt


def slice_dice(answer_ijk: npt.NDArray[np.bool_], truth_ijk: npt.NDArray[np.bool_]) -> list[float]:
    """Return the Dice of every slice (last axis) whose truth holds blood."""
    held = np.flatnonzero(truth_ijk.any(axis=(0, 1)))
    return [overlap_of(answer_ijk[..., k], truth_ijk[..., k]).dice(empty="one") for k in held]
