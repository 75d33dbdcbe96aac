"""The brain without its rim, where maps of a classifier may mark: soft tissue inside the skull, in one piece, eroded.

A map has the coarse tokens of a Transformer and spills over the skull; this is what it is cut with. It is no brain
extraction: blood that lies against the skull loses its outermost millimetres.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.segmenter import HeadGrid

SOFT_HU = (-5.0, 110.0)  # CSF, brain, oedema, blood; not fat, not bone
ERODED_MM = 1.5


def eroded_brain(grid: HeadGrid, intracranial_zyx: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return (z, y, x) True in the largest piece of soft tissue within `intracranial_tissue`, less its rim."""
    soft = (grid.hu_zyx > SOFT_HU[0]) & (grid.hu_zyx < SOFT_HU[1]) & grid.scanned_zyx & intracranial_zyx
    _, row_mm, column_mm = grid.spacing_zyx_mm
    rows, columns = (max(1, round(ERODED_MM / spacing)) for spacing in (row_mm, column_mm))
    kernel = np.ones((1, 2 * rows + 1, 2 * columns + 1), dtype=bool)
    core = ndimage.binary_erosion(soft, structure=kernel)
    pieces, count = ndimage.label(core)
    if not count:
        return np.zeros(grid.hu_zyx.shape, dtype=np.bool_)
    brain: npt.NDArray[np.bool_] = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    # noise and calcified plexus leave holes, which erosion widens
    return np.stack([ndimage.binary_fill_holes(plane) for plane in brain])
