"""Test-time augmentation: a model that also looks at mirror images of a head. For evaluation, never in the node.

`Mirrored` averages the softmax of the head and of its left-right mirror image. `TinyLesions` is Viola-UNet's rule (Liu
et al., arXiv 2208.06313): where less than 0.1 mL was marked, it looks again, at mirror images, and a voxel that any
look marks is marked. Deviation: the published rule also looks with windows of 96 x 96, which not every network takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from models.segmenter import HeadGrid, Plan, Segmentation, Segmenter
    from models.spec import ModelSpec

TINY_ML = 0.1
_LEFT_RIGHT, _FRONT_BACK = 2, 1


@dataclass(frozen=True, slots=True)
class _Looks:
    """A segmenter that looks more than once; all but `segment` is that of one look."""

    segmenter: Segmenter

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""
        return self.segmenter.spec

    @property
    def plan(self) -> Plan:
        """What one look runs."""
        return self.segmenter.plan

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.segmenter.device

    def warm(self) -> None:
        """Run once on nothing."""
        self.segmenter.warm()


@dataclass(frozen=True, slots=True)
class Mirrored(_Looks):
    """Implements `models.segmenter.Segmenter`."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment a head; members' own labels are those of the first look."""
        said = self.segmenter.segment(grid, on_progress=on_progress)
        mirrored = _look(self.segmenter, grid, (_LEFT_RIGHT,))
        return replace(said, probabilities_czyx=(said.probabilities_czyx + mirrored) * np.float32(0.5))


@dataclass(frozen=True, slots=True)
class TinyLesions(_Looks):
    """Implements `models.segmenter.Segmenter`."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment a head; members' own labels are those of the first look."""
        said = self.segmenter.segment(grid, on_progress=on_progress)
        blood = [label.index for label in self.spec.haemorrhage_labels]
        marked = np.isin(said.probabilities_czyx.argmax(axis=0), blood)
        if float(marked.sum()) * said.voxel_ml >= TINY_ML:
            return said
        probabilities = said.probabilities_czyx.copy()
        for axes in ((_LEFT_RIGHT,), (_FRONT_BACK,), (_LEFT_RIGHT, _FRONT_BACK)):
            look = _look(self.segmenter, grid, axes)
            more = np.isin(look.argmax(axis=0), blood) & ~np.isin(probabilities.argmax(axis=0), blood)
            probabilities[:, more] = look[:, more]
        return replace(said, probabilities_czyx=probabilities)


def _look(segmenter: Segmenter, grid: HeadGrid, axes: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the softmax of a mirror image, mirrored back."""
    mirror = replace(
        grid,
        hu_zyx=np.ascontiguousarray(np.flip(grid.hu_zyx, axes)),
        scanned_zyx=np.ascontiguousarray(np.flip(grid.scanned_zyx, axes)),
    )
    probabilities = segmenter.segment(mirror).probabilities_czyx
    back: npt.NDArray[np.float32] = np.flip(probabilities, tuple(1 + axis for axis in axes))
    return back
