"""Connected parts of one label: 26-connected in the native slices, with volumes by slice shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.volume import Volume

COUNTED_ML = 0.1  # smaller parts are measured with the rest but are not counted as components: specks of a few voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All voxels of one label and the connected part that each belongs to; parts sorted by volume, largest first."""

    k: npt.NDArray[np.intp]
    j: npt.NDArray[np.intp]
    i: npt.NDArray[np.intp]
    part: npt.NDArray[np.intp]
    """(N,) rank of each voxel's part, 0 the largest."""
    voxel_ml: npt.NDArray[np.float64]
    """(N,) volume that each voxel stands for."""
    part_ml: npt.NDArray[np.float64]

    @property
    def volume_ml(self) -> float:
        """Volume of the whole label."""
        return float(self.part_ml.sum())

    @property
    def counted(self) -> int:
        """How many parts are large enough to be called components; at least one."""
        return max(1, int((self.part_ml >= COUNTED_ML).sum()))


def parts_of(mask_kji: npt.NDArray[np.bool_], volume: Volume) -> Parts | None:
    """Split a mask in native slices into connected parts; None where it is empty."""
    box = ndimage.find_objects(mask_kji.view(np.uint8))
    if not box or box[0] is None:
        return None
    start = [side.start for side in box[0]]
    numbered, found = ndimage.label(mask_kji[box[0]], np.ones((3, 3, 3)))
    k, j, i = np.nonzero(numbered)
    number = numbered[k, j, i].astype(np.intp) - 1
    area_mm2 = volume.row_spacing_mm * volume.column_spacing_mm
    voxel_ml = volume.shares_mm[k + start[0]] * area_mm2 / 1000.0
    part_ml = np.bincount(number, weights=voxel_ml, minlength=found)
    by_size = np.argsort(-part_ml, kind="stable")
    rank = np.empty(found, dtype=np.intp)
    rank[by_size] = np.arange(found)
    return Parts(
        k=k + start[0],
        j=j + start[1],
        i=i + start[2],
        part=rank[number],
        voxel_ml=voxel_ml,
        part_ml=part_ml[by_size].astype(np.float64),
    )
