"""What a classifier of slices sees of a head: one square round the brain for all slices, in several HU windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ichor.errors import ModelError
from models.segmenter import OUTSIDE_HU

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from models.segmenter import HeadGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """Where the square lies on the grid: its first row and column, which may lie outside."""

    row: int
    column: int
    side: int

    def cut(self, planes_zyx: npt.NDArray[np.float32], *, outside: float) -> npt.NDArray[np.float32]:
        """Return (z, side, side)."""
        z, rows, columns = planes_zyx.shape
        cut = np.full((z, self.side, self.side), outside, dtype=np.float32)
        (grid_y, own_y), (grid_x, own_x) = self._meet(rows, self.row), self._meet(columns, self.column)
        cut[:, own_y, own_x] = planes_zyx[:, grid_y, grid_x]
        return cut

    def paste(self, cut: npt.NDArray[np.float32], onto_zyx: npt.NDArray[np.float32]) -> None:
        """Write (z, side, side) onto the grid's planes."""
        _, rows, columns = onto_zyx.shape
        (grid_y, own_y), (grid_x, own_x) = self._meet(rows, self.row), self._meet(columns, self.column)
        onto_zyx[:, grid_y, grid_x] = cut[:, own_y, own_x]

    def _meet(self, length: int, first: int) -> tuple[slice, slice]:
        """Return the part of an axis that the square covers, on the grid and in the square."""
        start, stop = max(0, first), max(0, min(length, first + self.side))
        return slice(start, max(start, stop)), slice(start - first, max(start, stop) - first)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceView:
    """How slices are cut and scaled; each HU window to -1 to 1."""

    side: int
    hu_windows: tuple[tuple[float, float], ...]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> SliceView:
        """Read a spec's parameters; raise ModelError where they are impossible."""
        side, windows = parameters.get("side"), parameters.get("hu_windows")
        if type(side) is not int or side < 1:
            raise ModelError(f"The spec's parameter side must be a whole number of pixels, not {side!r}.")
        if not isinstance(windows, list) or not windows or not all(_is_window(one) for one in windows):
            raise ModelError(f"The spec's parameter hu_windows must list [low, high] with low < high, not {windows!r}.")
        return cls(side=side, hu_windows=tuple((float(low), float(high)) for low, high in windows))

    def square(self, intracranial_zyx: npt.NDArray[np.bool_]) -> Square:
        """Lay the square round the middle of where `intracranial_tissue` can be, else of the grid."""
        tissue = np.asarray(intracranial_zyx.any(axis=0))
        if not tissue.any():
            tissue = np.ones_like(tissue)
        rows, columns = np.nonzero(tissue)
        row, column = int(rows.min() + rows.max() + 1) // 2, int(columns.min() + columns.max() + 1) // 2
        return Square(row=row - self.side // 2, column=column - self.side // 2, side=self.side)

    def hu(self, grid: HeadGrid, square: Square) -> npt.NDArray[np.float32]:
        """Return the HU of the square on every plane, (z, side, side); air outside the scan."""
        inside = np.where(grid.scanned_zyx, grid.hu_zyx, np.float32(OUTSIDE_HU))
        return square.cut(inside, outside=OUTSIDE_HU)

    def image(self, hu: torch.Tensor) -> torch.Tensor:
        """Return a classifier's input, (n, windows, side, side), of HU (n, side, side)."""
        windows = [2 * (hu.clamp(low, high) - low) / (high - low) - 1 for low, high in self.hu_windows]
        return torch.stack(windows, dim=1)


def _is_window(one: object) -> bool:
    return (
        isinstance(one, list | tuple)
        and len(one) == 2
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in one)
        and one[0] < one[1]
    )
