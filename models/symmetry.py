"""The plane that halves a head, found in the scan itself, and the scan as its mirror image shows it.

A network that compares left with right needs each voxel beside its true counterpart. The head on the grid may be
turned, tipped and off the middle, so columns are not exchanged: the plane is where the scan and its reflection differ
least (a rigid registration of the mirror image onto the scan; a reflection knows three ways to move, and nodding, a
gantry's tilt, is none of them). Skull and skin decide: a bleed differs too little from brain to move the plane.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, optimize

from models.segmenter import OUTSIDE_HU

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from models.segmenter import HeadGrid

    Volume = npt.NDArray[np.float32]
    Box = tuple[slice, slice, slice]

_COARSE_MM = 4.0
_HEAD_HU = -300.0
_LOWEST_HU, _HIGHEST_HU = -200.0, 400.0  # a bleed of 70 HU counts a fifth of what bone in the place of brain does
_STARTS_DEG, _STARTS_MM = (-16.0, 0.0, 16.0), (-8.0, 0.0, 8.0)
_MOST_PLACES = 20_000  # more take longer and find the same plane
_MOST_DEG = 40.0  # further turned is no head in a headrest
_FIRST_STEPS = (4.0, 4.0, 4.0)  # of the search: degrees, degrees, mm


@dataclass(frozen=True, slots=True, kw_only=True)
class MidPlane:
    """Points (z, y, x) in mm from the grid's first voxel with normal · point = offset; the normal leads to the left."""

    normal_zyx: tuple[float, float, float]  # of length 1
    offset_mm: float

    @classmethod
    def of(cls, grid: HeadGrid) -> MidPlane:
        """Find it; where there is no head, it is the middle of the grid."""
        steps = tuple(max(1, round(_COARSE_MM / spacing)) for spacing in grid.spacing_zyx_mm)
        spacing_mm = np.array([step * spacing for step, spacing in zip(steps, grid.spacing_zyx_mm, strict=True)])
        first_mm = 0.5 * (spacing_mm - np.array(grid.spacing_zyx_mm))  # centre of the first block
        hu = np.where(grid.scanned_zyx, grid.hu_zyx, np.float32(OUTSIDE_HU)).clip(OUTSIDE_HU, _HIGHEST_HU)
        coarse = _block_means(hu, steps, outside=OUTSIDE_HU)
        head = coarse > _HEAD_HU
        if not head.any():
            middle_mm = 0.5 * (grid.hu_zyx.shape[2] - 1) * grid.spacing_zyx_mm[2]
            return cls(normal_zyx=(0.0, 0.0, 1.0), offset_mm=middle_mm)
        search = _Search(
            image=coarse.clip(_LOWEST_HU, _HIGHEST_HU),
            scanned=_block_means(grid.scanned_zyx, steps, outside=0.0),
            spacing_mm=spacing_mm,
            head=_spread(np.argwhere(head)),
        )
        centre_mm, (normal, beyond_mm) = search.centre_mm, search.best()
        offset_mm = float(normal @ (centre_mm + first_mm)) + beyond_mm
        return cls(normal_zyx=(float(normal[0]), float(normal[1]), float(normal[2])), offset_mm=offset_mm)

    def mirrored(
        self, hu_zyx: npt.NDArray[np.floating], spacing_zyx_mm: tuple[float, float, float], box: Box
    ) -> Volume:
        """Return, over a box of the grid, the HU that lie opposite, linearly; air where nothing was scanned there."""
        reach = [range(*side.indices(length)) for side, length in zip(box, hu_zyx.shape, strict=True)]
        spacing, normal = np.array(spacing_zyx_mm), np.array(self.normal_zyx)
        # from a voxel of the grid to the one opposite: reflect in mm, in units of voxels
        matrix = np.eye(3) - 2 * np.outer(normal / spacing, normal * spacing)
        corner = np.array([one.start for one in reach])
        opposite = matrix @ corner + 2 * self.offset_mm * normal / spacing
        # only the part that can be reached is read: the array may lie on disk
        ends = [(0, len(one) - 1) for one in reach]
        seen = np.array([opposite + matrix @ np.array(one) for one in itertools.product(*ends)])
        low = np.clip(np.floor(seen.min(axis=0)).astype(int) - 1, 0, np.array(hu_zyx.shape) - 1)
        high = np.clip(np.ceil(seen.max(axis=0)).astype(int) + 2, low + 1, hu_zyx.shape)
        part = np.asarray(hu_zyx[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], dtype=np.float32)
        shape = tuple(len(one) for one in reach)
        seen_hu = ndimage.affine_transform(part, matrix, opposite - low, shape, order=1, mode="nearest")
        # a voxel reaches half its side beyond its centre: a slice at the end of the scan has its counterpart
        within = ndimage.affine_transform(
            np.ones(part.shape, dtype=np.uint8), matrix, opposite - low, shape, order=0, mode="grid-constant", cval=0
        )
        return np.where(within == 1, seen_hu, np.float32(OUTSIDE_HU))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """The coarse image, and how badly a plane halves it."""

    image: Volume
    scanned: Volume  # share of each voxel
    spacing_mm: npt.NDArray[np.float64]
    head: npt.NDArray[np.intp]  # voxels of it, (n, 3)

    @property
    def centre_mm(self) -> npt.NDArray[np.float64]:
        """The head's, from the first coarse voxel."""
        centre: npt.NDArray[np.float64] = self.head.mean(axis=0) * self.spacing_mm
        return centre

    def best(self) -> tuple[npt.NDArray[np.float64], float]:
        """Return the normal, and how far beyond the head's centre the plane lies along it."""
        # the plane of a part of a tipped head does not lead through its centre
        begin = min(map(np.array, itertools.product(_STARTS_DEG, _STARTS_DEG, _STARTS_MM)), key=self.mismatch)
        found = optimize.minimize(
            self.mismatch,
            begin,
            method="Nelder-Mead",
            options={
                "initial_simplex": np.vstack([begin, begin + np.diag(_FIRST_STEPS)]),
                "xatol": 0.05,
                "fatol": 0.01,
                "maxfev": 200,
            },
        )
        yaw, roll, beyond_mm = found.x
        return _normal(yaw, roll), float(beyond_mm)

    def mismatch(self, move: npt.NDArray[np.float64]) -> float:
        """Return the mean difference, in HU, between the head and what lies opposite, where that was scanned.

        A plane that leaves half of the head without an opposite place is none.
        """
        yaw, roll, beyond_mm = move
        if max(abs(yaw), abs(roll)) > _MOST_DEG:
            return math.inf
        normal = _normal(yaw, roll)
        places_mm = self.head * self.spacing_mm
        distance_mm = (places_mm - self.centre_mm) @ normal - beyond_mm
        opposite = ((places_mm - 2 * distance_mm[:, None] * normal) / self.spacing_mm).T
        known = ndimage.map_coordinates(self.scanned, opposite, order=1, cval=0.0) > 0.5
        if 2 * np.count_nonzero(known) < len(known):
            return math.inf
        here = self.image[tuple(self.head[known].T)]
        there = ndimage.map_coordinates(self.image, opposite[:, known], order=1, mode="nearest")
        return float(np.mean(np.abs(there - here)))


def _normal(yaw_deg: float, roll_deg: float) -> npt.NDArray[np.float64]:
    """Return the direction to the patient's left, turned about z and then tipped out of the axial plane."""
    yaw, roll = math.radians(yaw_deg), math.radians(roll_deg)
    return np.array([math.sin(roll), math.sin(yaw) * math.cos(roll), math.cos(yaw) * math.cos(roll)])


def _spread(places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return some of many places, all over them."""
    return places[:: -(-len(places) // _MOST_PLACES)]


def _block_means(array_zyx: npt.NDArray[Any], steps: tuple[int, ...], *, outside: float) -> Volume:
    """Return means over blocks; the last of an axis is filled up."""
    padding = [(0, -side % step) for side, step in zip(array_zyx.shape, steps, strict=True)]
    padded = np.pad(array_zyx.astype(np.float32), padding, constant_values=outside)
    z, y, x = (side // step for side, step in zip(padded.shape, steps, strict=True))
    return np.asarray(padded.reshape(z, steps[0], y, steps[1], x, steps[2]).mean(axis=(1, 3, 5)), dtype=np.float32)
