"""What slices show of a field on the grid: read at their voxels, averaged over each slice's own share of the stack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from worker.grid import indices_along

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.lattice import Box
    from worker.grid import GridMapping
    from worker.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceShares:
    """What one slice shows of a lesion: a share for every pixel of a part of it."""

    k: int
    rows: slice
    columns: slice
    share_ji: npt.NDArray[np.float32]


def slice_shares(
    volume: Volume, mapping: GridMapping, box: Box, share_zyx: npt.NDArray[np.float32]
) -> tuple[SliceShares, ...]:
    """Return what every slice that meets the box (z, y, x) of the grid shows of a field that fills it."""
    order = mapping.native_of_zyx
    field = np.pad(share_zyx, 1).transpose([order.index(axis) for axis in range(3)])
    corner = [box[order.index(axis)].start - 1 for axis in range(3)]
    found = []
    for k, (one, share_mm) in enumerate(zip(volume.slices, volume.shares_mm, strict=True)):
        count = max(1, math.ceil(share_mm / mapping.spacing_mm[0]))
        depths_mm = share_mm * ((np.arange(count) + 0.5) / count - 0.5)
        corner_mm = [float(np.dot(one.position_lps_mm, direction)) for direction in mapping.directions_lps]
        counted = (depths_mm, np.arange(one.rows, dtype=np.float64), np.arange(one.columns, dtype=np.float64))
        along = [
            indices_along(mapping, volume, corner_mm[axis], axis, counted[axis]) - corner[axis] for axis in range(3)
        ]
        met = [
            np.flatnonzero((places > 0) & (places < side - 1)) for places, side in zip(along, field.shape, strict=True)
        ]
        if not all(len(one) for one in met):
            continue
        rows, columns = (slice(int(held[0]), int(held[-1]) + 1) for held in met[1:])
        places = np.meshgrid(along[0], along[1][rows], along[2][columns], indexing="ij")
        read = ndimage.map_coordinates(field, places, order=1, mode="constant", cval=0.0, output=np.float32)
        found.append(SliceShares(k=k, rows=rows, columns=columns, share_ji=read.mean(axis=0)))
    return tuple(found)
