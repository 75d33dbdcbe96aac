"""How a slice is turned for display: as radiologists look at it, whatever the signs of the acquisition.

Axial slices are seen from the feet (the patient's right on the image's left, front up), coronal ones from the front
(right on the left, head up), sagittal ones with the front on the left and the head up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.slices import Cosine

Pixel = TypeVar("Pixel", bound=np.generic)

_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))  # PS3.3 C.7.6.1.1.1: towards the negative and the positive of x, y, z


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Turns (rows, columns) into display order; first transposed, then flipped."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    left: str
    right: str
    top: str
    bottom: str

    def turn(self, array_ji: npt.NDArray[Pixel]) -> npt.NDArray[Pixel]:
        """Return the array as it is displayed; rows go down, columns to the right."""
        turned = array_ji.T if self.transpose else array_ji
        turned = turned[::-1] if self.flip_rows else turned
        return np.ascontiguousarray(turned[:, ::-1] if self.flip_columns else turned)

    def turn_spacing(self, row_spacing_mm: float, column_spacing_mm: float) -> tuple[float, float]:
        """Return the distance between rows and between columns as displayed."""
        return (column_spacing_mm, row_spacing_mm) if self.transpose else (row_spacing_mm, column_spacing_mm)


def view_of(row_cosine: Cosine, column_cosine: Cosine) -> View:
    """Find the view for slices of this orientation (directions in which the column and the row index grow)."""
    along_columns, along_rows = np.asarray(row_cosine), np.asarray(column_cosine)
    axis_columns, axis_rows = _main_axis(along_columns), _main_axis(along_rows)
    # The axis that lies nearer to left-right runs across; head-foot always runs down.
    transpose = axis_columns > axis_rows
    across, down = (along_rows, along_columns) if transpose else (along_columns, along_rows)
    flip_columns = bool(across[_main_axis(across)] < 0)
    axis_down = _main_axis(down)
    flip_rows = bool(down[axis_down] > 0) if axis_down == 2 else bool(down[axis_down] < 0)
    across = -across if flip_columns else across
    down = -down if flip_rows else down
    return View(
        transpose=transpose,
        flip_rows=flip_rows,
        flip_columns=flip_columns,
        left=_letter(-across),
        right=_letter(across),
        top=_letter(-down),
        bottom=_letter(down),
    )


def _main_axis(direction: npt.NDArray[np.float64]) -> int:
    return int(np.argmax(np.abs(direction)))


def _letter(direction: npt.NDArray[np.float64]) -> str:
    axis = _main_axis(direction)
    return _LETTERS[axis][int(direction[axis] > 0)]
