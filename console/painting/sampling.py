"""What slices show of a field on the grid: read at their voxels, averaged over each slice's own share of the stack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

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
        along = [
            _on_grid(volume, mapping, one.position_lps_mm, axis, counted) - corner[axis]
            for axis, counted in ((0, depths_mm), (1, np.arange(one.rows)), (2, np.arange(one.columns)))
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


def _on_grid(
    volume: Volume,
    mapping: GridMapping,
    position_lps_mm: tuple[float, float, float],
    axis: int,
    counted: npt.NDArray[np.number],
) -> npt.NDArray[np.float64]:
    """Return the grid's indices along a native axis: of depths in mm along the normal, of rows, or of columns."""
    way = (volume.normal, volume.column_cosine, volume.row_cosine)[axis]
    step = (1.0, volume.row_spacing_mm, volume.column_spacing_mm)[axis]
    direction = np.asarray(mapping.directions_lps[axis])
    sign = float(np.sign(np.dot(way, direction)))
    places_mm = float(np.dot(position_lps_mm, direction)) + sign * step * np.asarray(counted, dtype=np.float64)
    indices: npt.NDArray[np.float64] = (places_mm - mapping.first_mm[axis]) / mapping.spacing_mm[axis]
    return indices
