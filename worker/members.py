"""What each member of an ensemble says on its own, asked at the voxels of a finding. Never called confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.grid import GridMapping

AGREEING_SHARE = 0.5
"""A member agrees on a part where it gives at least this share of its voxels the same label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Each member's own labels, (members, z, y, x) on the model's grid, and where that lies."""

    mapping: GridMapping
    labels_mzyx: npt.NDArray[np.uint8]

    def agreeing(self, points_lps_mm: npt.NDArray[np.float64], label: int) -> int:
        """Count the members that agree on a part, whose voxel centres are given as (N, 3) patient positions."""
        mapping = self.mapping
        index = []
        for grid_axis, axis in enumerate(mapping.native_of_zyx):
            along_mm = points_lps_mm @ np.asarray(mapping.directions_lps[axis]) - mapping.first_mm[axis]
            nearest = np.rint(along_mm / mapping.spacing_mm[axis]).astype(np.intp)
            index.append(np.clip(nearest, 0, self.labels_mzyx.shape[1 + grid_axis] - 1))
        z, y, x = index
        shares = (self.labels_mzyx[:, z, y, x] == label).mean(axis=1)
        return int((shares >= AGREEING_SHARE).sum())
