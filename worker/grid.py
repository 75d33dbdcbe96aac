"""From native slices to the model's orthogonal grid, and its probabilities back to native slices.

The grid is aligned with the slice plane: its axes are the plane normal and the two in-plane directions, permuted and
flipped so that z runs from foot to head, y from front to back and x from the patient's right to left. Every slice is
placed by its own position, so a gantry shear, uneven gaps and in-plane shifts are undone by linear interpolation: in
the plane at equal patient position, then along the normal between the two neighbouring slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from models.segmenter import OUTSIDE_HU, HeadGrid
from worker.findings import PointMm

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.volume import Volume

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridMapping:
    """A grid and where it lies. Native axes are 0 = normal, 1 = rows (j), 2 = columns (i)."""

    grid: HeadGrid
    native_of_zyx: tuple[int, int, int]
    """The native axis along which each grid axis runs."""
    directions_lps: tuple[Triple, Triple, Triple]
    """Unit vector of each native axis, turned the way the grid counts."""
    first_mm: Triple
    """Position of the first grid point along each of `directions_lps`."""
    spacing_mm: Triple
    """Grid spacing along each native axis."""

    def lps_of(self, z: float, y: float, x: float) -> PointMm:
        """Give the patient position of a (fractional) grid point."""
        point = np.zeros(3)
        for index, axis in zip((z, y, x), self.native_of_zyx, strict=True):
            distance = self.first_mm[axis] + index * self.spacing_mm[axis]
            point += distance * np.asarray(self.directions_lps[axis])
        return float(point[0]), float(point[1]), float(point[2])

    def volumes_ml(self, probabilities_czyx: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Give the volume of each label (channels 1 and up) by counting grid points in the argmax."""
        painted = probabilities_czyx.argmax(axis=0)
        counts = np.bincount(painted.ravel(), minlength=probabilities_czyx.shape[0])[1:]
        return counts.astype(np.float64) * (float(np.prod(self.spacing_mm)) / 1000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The volume's places measured along the grid's directions."""

    directions: npt.NDArray[np.float64]  # (3 native axes, LPS)
    signs: tuple[float, float, float]
    corner_mm: npt.NDArray[np.float64]  # (K, 3) place of pixel (0, 0) of each slice along each direction

    @classmethod
    def of(cls, volume: Volume) -> tuple[_Frame, tuple[int, int, int]]:
        """Find the assignment of native axes to z, y, x that turns least, and the places of all slices."""
        native = np.array([volume.normal, volume.column_cosine, volume.row_cosine])
        order = max(permutations(range(3)), key=lambda zyx: round(sum(abs(native[zyx[a], 2 - a]) for a in range(3)), 6))
        signs = [1.0, 1.0, 1.0]
        for grid_axis, axis in enumerate(order):
            signs[axis] = -1.0 if native[axis, 2 - grid_axis] < 0 else 1.0
        directions = native * np.array(signs)[:, None]
        places = np.array([one.position_lps_mm for one in volume.slices]) @ directions.T
        frame = cls(directions=directions, signs=(signs[0], signs[1], signs[2]), corner_mm=places)
        return frame, (order[0], order[1], order[2])


def resample(volume: Volume, spacing_zyx_mm: Triple) -> GridMapping:
    """Resample a volume onto the grid; outside every slice's footprint HU is -1024 and `scanned` is False."""
    frame, order = _Frame.of(volume)
    spacing = [0.0, 0.0, 0.0]
    for grid_axis, axis in enumerate(order):
        spacing[axis] = spacing_zyx_mm[grid_axis]
    starts, counts = _extent(volume, frame, spacing)
    along_n = starts[0] + spacing[0] * np.arange(counts[0], dtype=np.float64)
    hu = np.full(counts, OUTSIDE_HU, dtype=np.float32)
    scanned = np.zeros(counts, dtype=np.bool_)
    sampler = _PlaneSampler(volume, frame, starts, spacing, counts)
    for n, (below, above, weight) in enumerate(zip(*_between(frame.corner_mm[:, 0], along_n), strict=True)):
        sampler.blend(int(below), int(above), float(weight), hu[n], scanned[n])
    grid = HeadGrid(
        hu_zyx=np.ascontiguousarray(hu.transpose(order)),
        spacing_zyx_mm=spacing_zyx_mm,
        scanned_zyx=np.ascontiguousarray(scanned.transpose(order)),
    )
    return GridMapping(
        grid=grid,
        native_of_zyx=order,
        directions_lps=(_triple(frame.directions[0]), _triple(frame.directions[1]), _triple(frame.directions[2])),
        first_mm=_triple(starts),
        spacing_mm=_triple(spacing),
    )


def labels_on_slices(
    mapping: GridMapping, volume: Volume, probabilities_czyx: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Sample the softmax linearly at every native voxel centre and give the argmax as labels (K, rows, columns).

    Only where a grid point has a class above background can an interpolated point have one, so only the bounding box
    of such points is sampled; the result is that of sampling everywhere. Equal probabilities go to the lower index.
    """
    frame, order = _Frame.of(volume)
    to_native = (0, *(1 + order.index(axis) for axis in range(3)))
    p_cnvu = probabilities_czyx.transpose(to_native)
    marked = p_cnvu[1:].max(axis=0) > p_cnvu[0]
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    planes = marked.shape[0]
    t = np.clip((frame.corner_mm[:, 0] - mapping.first_mm[0]) / mapping.spacing_mm[0], 0, planes - 1)
    for k in range(len(volume.slices)):
        below = min(int(t[k]), max(planes - 2, 0))
        above = min(below + 1, planes - 1)
        near = marked[below] | marked[above]
        if not near.any():
            continue
        j, at_j = _native_in(mapping, volume, frame.corner_mm[k], 1, near.any(axis=1))
        i, at_i = _native_in(mapping, volume, frame.corner_mm[k], 2, near.any(axis=0))
        weight = np.float32(t[k] - below)
        plane = p_cnvu[:, below] * (1 - weight) + p_cnvu[:, above] * weight
        labels[k, j, i] = _lerp(_lerp(plane, at_j, axis=1), at_i, axis=2).argmax(axis=0)
    return labels


def indices_along(
    mapping: GridMapping, volume: Volume, corner_mm: float, axis: int, counted: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give the grid's (fractional) indices along a native axis of rows, of columns, or of depths in mm (axis 0).

    `corner_mm` is where the slice's first voxel lies along the axis's direction.
    """
    step = (1.0, volume.row_spacing_mm, volume.column_spacing_mm)[axis]
    native = (volume.normal, volume.column_cosine, volume.row_cosine)[axis]
    sign = float(np.sign(np.dot(native, mapping.directions_lps[axis])))
    index = corner_mm + sign * step * counted
    return (index - mapping.first_mm[axis]) / mapping.spacing_mm[axis]


def _native_in(
    mapping: GridMapping,
    volume: Volume,
    corner_mm: npt.NDArray[np.float64],
    axis: int,
    marked: npt.NDArray[np.bool_],
) -> tuple[slice, npt.NDArray[np.float64]]:
    """Give the native rows (axis 1) or columns (axis 2) that lie among marked grid points, and where on the grid."""
    counted = np.arange(volume.hu_kji.shape[axis], dtype=np.float64)
    index = indices_along(mapping, volume, float(corner_mm[axis]), axis, counted)
    hit = np.flatnonzero(marked)
    inside = np.flatnonzero((index > hit[0] - 1) & (index < hit[-1] + 1))
    if not len(inside):
        return slice(0, 0), np.empty(0)
    return slice(int(inside[0]), int(inside[-1]) + 1), np.clip(index[inside], 0, len(marked) - 1)


def _extent(volume: Volume, frame: _Frame, spacing: list[float]) -> tuple[list[float], tuple[int, int, int]]:
    """Cover every slice's pixels and shares, centred, with at least one grid point along each axis."""
    steps = (volume.row_spacing_mm, volume.column_spacing_mm)
    along = frame.corner_mm[:, 0]
    first, last = int(along.argmin()), int(along.argmax())
    bounds = [(along[first] - volume.shares_mm[first] / 2, along[last] + volume.shares_mm[last] / 2)]
    for axis, count in ((1, volume.hu_kji.shape[1]), (2, volume.hu_kji.shape[2])):
        ends = frame.corner_mm[:, axis], frame.corner_mm[:, axis] + frame.signs[axis] * steps[axis - 1] * (count - 1)
        low, high = float(np.min(ends)), float(np.max(ends))
        bounds.append((low - steps[axis - 1] / 2, high + steps[axis - 1] / 2))
    starts: list[float] = []
    counts: list[int] = []
    for (low, high), step in zip(bounds, spacing, strict=True):
        count = max(1, int(np.ceil((high - low) / step - 1e-6)))
        starts.append(float((low + high - (count - 1) * step) / 2))
        counts.append(count)
    return starts, (counts[0], counts[1], counts[2])


def _between(
    places: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Find for each wanted place the slices on either side and the weight of the upper; ends hold their value."""
    rising = np.argsort(places)
    position = np.interp(wanted, places[rising], np.arange(len(places), dtype=np.float64))
    below = np.minimum(position.astype(np.intp), len(places) - 2)
    return rising[below], rising[below + 1], position - below


def _lerp(values: npt.NDArray[np.float32], index: npt.NDArray[np.float64], *, axis: int) -> npt.NDArray[np.float32]:
    """Sample linearly at fractional indices, all within the axis."""
    low = np.minimum(index.astype(np.intp), max(values.shape[axis] - 2, 0))
    high = np.minimum(low + 1, values.shape[axis] - 1)
    shape = [1] * values.ndim
    shape[axis] = len(index)
    weight = (index - low).astype(np.float32).reshape(shape)
    out: npt.NDArray[np.float32] = values.take(high, axis=axis)
    lower = values.take(low, axis=axis)
    out -= lower
    out *= weight
    out += lower
    return out


class _PlaneSampler:
    """Resamples slices in their plane, keeping the last two, and blends neighbours into grid planes."""

    def __init__(
        self, volume: Volume, frame: _Frame, starts: list[float], spacing: list[float], counts: tuple[int, int, int]
    ) -> None:
        self._volume = volume
        self._frame = frame
        self._grid_mm = [starts[axis] + spacing[axis] * np.arange(counts[axis]) for axis in (1, 2)]
        self._kept: dict[int, tuple[npt.NDArray[np.float32], slice, slice]] = {}

    def blend(
        self, below: int, above: int, weight: float, hu: npt.NDArray[np.float32], scanned: npt.NDArray[np.bool_]
    ) -> None:
        """Write one grid plane; where only one of the two slices reaches, its value stands alone."""
        parts = [(below, 1.0 - weight), (above, weight)]
        self._kept = {k: plane for k, plane in self._kept.items() if k in (below, above)}
        total = np.zeros(hu.shape, dtype=np.float32)
        sure = np.zeros(hu.shape, dtype=np.float32)
        for k, part in parts:
            if part <= 0.0:
                continue
            plane, rows, columns = self._slice(k)
            total[rows, columns] += np.float32(part) * plane
            sure[rows, columns] += np.float32(part)
        np.greater(sure, 0, out=scanned)
        np.divide(total, sure, out=hu, where=scanned)

    def _slice(self, k: int) -> tuple[npt.NDArray[np.float32], slice, slice]:
        """Give slice k on the grid's in-plane raster: values of its footprint, and the footprint's rows and columns."""
        if k not in self._kept:
            steps = (self._volume.row_spacing_mm, self._volume.column_spacing_mm)
            indices, boxes = [], []
            for axis in (1, 2):
                count = self._volume.hu_kji.shape[axis]
                index = (self._grid_mm[axis - 1] - self._frame.corner_mm[k, axis]) * self._frame.signs[axis]
                index /= steps[axis - 1]
                inside = np.flatnonzero((index > -0.5) & (index < count - 0.5))
                boxes.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))
                indices.append(np.clip(index[inside], 0, count - 1))
            pixels = self._volume.hu_kji[k].astype(np.float32)
            plane = _lerp(_lerp(pixels, indices[0], axis=0), indices[1], axis=1)
            self._kept[k] = (plane, boxes[0], boxes[1])
        return self._kept[k]


def _triple(values: npt.NDArray[np.float64] | list[float]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
