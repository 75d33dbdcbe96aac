"""Patches turned, scaled and bent within their slices: heads lie, and are, differently.

Points of the patch are read from the scan at other places, so that no corner of a turned patch is empty. Slices are
thick, so nothing moves from one to another; all slices of a patch are changed alike. HU are read linearly, labels from
the nearest voxel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates

from models.segmenter import OUTSIDE_HU

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.training.sample import Sample

_BEND_MM = 32.0  # between the points whose displacements are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """How much at most."""

    rotation_deg: float
    scaling: float  # 0.1: from 0.9 to 1.1 times
    elastic_mm: float  # standard deviation of the displacements
    spacing_zyx_mm: tuple[float, float, float]

    @property
    def moves(self) -> bool:
        """Whether it does anything."""
        return max(self.rotation_deg, self.scaling, self.elastic_mm) > 0

    def cut(
        self, sample: Sample, corner: Sequence[int], sides_zyx: tuple[int, int, int], random: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Return HU (views, z, y, x) and labels (z, y, x) of a patch; beyond the scan OUTSIDE_HU and background."""
        rows, columns = self._places(sides_zyx, random)
        planes = slice(corner[0], min(corner[0] + sides_zyx[0], sample.labels_zyx.shape[0]))
        rows, columns = rows + corner[1], columns + corner[2]
        box, first = [planes], []
        for places, length in ((rows, sample.labels_zyx.shape[1]), (columns, sample.labels_zyx.shape[2])):
            low = int(np.clip(math.floor(places.min()), 0, length - 1))
            box.append(slice(low, int(np.clip(math.ceil(places.max()) + 1, low + 1, length))))
            first.append(low)
        index = (box[0], box[1], box[2])
        where = np.stack([rows - first[0], columns - first[1]])
        views = [np.where(sample.scanned_zyx[index], sample.hu_zyx[index].astype(np.float32), np.float32(OUTSIDE_HU))]
        if sample.plane is not None:
            views.append(sample.plane.mirrored(sample.hu_zyx, self.spacing_zyx_mm, index))
        hu = np.full((len(views), *sides_zyx), OUTSIDE_HU, dtype=np.float32)
        labels = np.zeros(sides_zyx, dtype=np.uint8)
        marks = sample.labels_zyx[index]
        for plane in range(len(marks)):
            for view, out in zip(views, hu, strict=True):
                map_coordinates(view[plane], where, output=out[plane], order=1, mode="constant", cval=OUTSIDE_HU)
            map_coordinates(marks[plane], where, output=labels[plane], order=0, mode="constant", cval=0)
        return hu, labels

    def _places(
        self, sides_zyx: tuple[int, int, int], random: np.random.Generator
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the row and the column, from the patch's corner, at which each of its (y, x) points is read."""
        angle = math.radians(random.uniform(-self.rotation_deg, self.rotation_deg))
        zoom = random.uniform(1 - self.scaling, 1 + self.scaling)
        step_y, step_x = self.spacing_zyx_mm[1:]
        _, side_y, side_x = sides_zyx
        y = (np.arange(side_y)[:, None] - (side_y - 1) / 2) * step_y / zoom
        x = (np.arange(side_x)[None, :] - (side_x - 1) / 2) * step_x / zoom
        turned_y = math.cos(angle) * y - math.sin(angle) * x
        turned_x = math.sin(angle) * y + math.cos(angle) * x
        if self.elastic_mm > 0:
            turned_y = turned_y + self._bend((side_y, side_x), random)
            turned_x = turned_x + self._bend((side_y, side_x), random)
        return turned_y / step_y + (side_y - 1) / 2, turned_x / step_x + (side_x - 1) / 2

    def _bend(self, sides_yx: tuple[int, int], random: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return smooth displacements, mm."""
        reach = [side * step / _BEND_MM for side, step in zip(sides_yx, self.spacing_zyx_mm[1:], strict=True)]
        drawn = random.normal(0, self.elastic_mm, [math.ceil(one) + 1 for one in reach])
        along = [np.linspace(0, one, side) for one, side in zip(reach, sides_yx, strict=True)]
        bend: npt.NDArray[np.float64] = map_coordinates(
            drawn, np.stack(np.meshgrid(*along, indexing="ij")), order=3, mode="nearest"
        )
        return bend
