"""A head as training sees it: HU and labels on the model's grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.segmenter import HeadGrid
from models.symmetry import MidPlane

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt


IGNORED = 255
"""The label of a voxel of which nobody knows what it is: it teaches nothing, least of all that it is healthy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One scan on the grid, (z, y, x), as `HeadGrid` has it; arrays may lie on disk."""

    name: str
    hu_zyx: npt.NDArray[np.float16]  # OUTSIDE_HU outside the scan
    labels_zyx: npt.NDArray[np.uint8]  # channels of the model, 0 is background, or IGNORED
    scanned_zyx: npt.NDArray[np.bool_]
    places: Mapping[int, npt.NDArray[np.intp]]  # by label that is there, its voxels as (n, 3)
    plane: MidPlane | None = None  # where a network compares the halves

    @classmethod
    def of(
        cls,
        name: str,
        hu_zyx: npt.NDArray[np.float16],
        labels_zyx: npt.NDArray[np.uint8],
        scanned_zyx: npt.NDArray[np.bool_],
    ) -> Sample:
        """Make a sample, its labelled places looked up once."""
        labelled = np.argwhere((labels_zyx > 0) & (labels_zyx != IGNORED))
        kinds = labels_zyx[tuple(labelled.T)]
        places = {int(label): labelled[kinds == label] for label in np.unique(kinds)}
        return cls(name=name, hu_zyx=hu_zyx, labels_zyx=labels_zyx, scanned_zyx=scanned_zyx, places=places)

    def halved(self, spacing_zyx_mm: tuple[float, float, float]) -> Sample:
        """Return the sample with the plane that halves the head."""
        return replace(self, plane=MidPlane.of(self.grid(spacing_zyx_mm)))

    def grid(self, spacing_zyx_mm: tuple[float, float, float]) -> HeadGrid:
        """Return the scan as the engine takes it."""
        return HeadGrid(
            hu_zyx=self.hu_zyx.astype(np.float32), spacing_zyx_mm=spacing_zyx_mm, scanned_zyx=np.array(self.scanned_zyx)
        )
