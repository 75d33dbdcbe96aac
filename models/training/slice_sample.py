"""A head as the training of a slice classifier sees it: planes of the model's grid, and what each shows.

`targets_zo` says for every plane of each output (any haemorrhage, then the subtypes) how much of it is slices that
show that: 0 or 1 on a slice, in between where a plane lies between two that differ. That is all that training is
told. The mask is there where the data set has one, and is looked at only to choose a map's threshold on validation
scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.segmenter import HeadGrid
from models.training.data.case import SUBTYPES

if TYPE_CHECKING:
    import numpy.typing as npt

OUTPUTS = ("any", *SUBTYPES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceSample:
    """One scan on the grid, (z, y, x); arrays may lie on disk."""

    name: str
    hu_zyx: npt.NDArray[np.float16]  # OUTSIDE_HU outside the scan
    scanned_zyx: npt.NDArray[np.bool_]
    targets_zo: npt.NDArray[np.float32]  # (z, 6) as OUTPUTS; subtypes are NaN where nobody told them
    blood_zyx: npt.NDArray[np.bool_] | None  # for validation alone

    @property
    def knows_subtypes(self) -> bool:
        """Whether the subtypes are told."""
        return not bool(np.isnan(self.targets_zo).any())

    def grid(self, spacing_zyx_mm: tuple[float, float, float]) -> HeadGrid:
        """Return the scan as the engine takes it."""
        return HeadGrid(
            hu_zyx=self.hu_zyx.astype(np.float32), spacing_zyx_mm=spacing_zyx_mm, scanned_zyx=np.array(self.scanned_zyx)
        )
