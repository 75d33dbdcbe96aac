"""ABC/2 of a true mask, as a reader with a ruler would have it: what a system's volume error is set beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from worker.axes import abc2_ml, axes_of
from worker.components import COUNTED_ML

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.evaluation.grid import MaskGrid


def truth_abc2_ml(truth: npt.NDArray[np.bool_], grid: MaskGrid) -> float | None:
    """Measure the only bleed of a scan; None where there is none, or several, for which ABC/2 is not made.

    Slices lie along the grid's coarsest axis; their distance is what a voxel's volume leaves, so that a tilted gantry
    does not stretch them.
    """
    numbered, found = ndimage.label(truth, np.ones((3, 3, 3)))
    part_ml = grid.volumes_ml(numbered, found)[1:]
    if found == 0 or int((part_ml >= COUNTED_ML).sum()) != 1:
        return None
    across = int(np.argmax(grid.spacing_mm)) if grid.slices is None else 2
    slices = np.moveaxis(numbered == 1 + int(part_ml.argmax()), across, 0)
    row_mm, column_mm = (side for axis, side in enumerate(grid.spacing_mm) if axis != across)
    areas = slices.sum(axis=(1, 2)).astype(np.float64)
    j, i = np.nonzero(slices[int(areas.argmax())])
    axes = axes_of(j, i, row_spacing_mm=row_mm, column_spacing_mm=column_mm)
    if grid.slices is None:
        shares_mm = np.full(len(areas), 1000.0 * grid.voxel_ml / (row_mm * column_mm))
    else:
        shares_mm = grid.slices.shares_mm
    return abc2_ml(areas, shares_mm, long_mm=axes.long_mm, short_mm=axes.short_mm)
