"""Windows fitted to a mask: boxes of whole cells that cover every cell the mask touches, at the least cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]


EACH_WINDOW = 3_000
"""Voxels whose work is as much as what a window costs beside its voxels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A box of voxels: start and stop per axis, in the order of the array; may reach past the array's end."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sides in voxels."""
        z, y, x = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def voxels(self, *, halo: int = 0) -> int:
        """Voxels of the window with `halo` voxels added on each side."""
        z, y, x = (side + 2 * halo for side in self.shape)
        return z * y * x

    def slices(self, shape: tuple[int, ...], *, offset: tuple[int, ...] = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Index of the part that lies within an array of this shape whose first voxel is at `offset`."""
        z, y, x = (
            slice(start - first, min(stop - first, side))
            for start, stop, first, side in zip(self.start, self.stop, offset, shape, strict=True)
        )
        return (z, y, x)

    def within(self, region: Window) -> tuple[int, int, int]:
        """Return where the window begins, counted from the start of a region."""
        z, y, x = (start - origin for start, origin in zip(self.start, region.start, strict=True))
        return (z, y, x)

    def aligned(self, lattice: int) -> Window:
        """Return the smallest box round this one that starts and ends on multiples of `lattice`."""
        z0, y0, x0 = (start - start % lattice for start in self.start)
        z1, y1, x1 = (stop + -stop % lattice for stop in self.stop)
        return Window(start=(z0, y0, x0), stop=(z1, y1, x1))


def bounding_window(windows: tuple[Window, ...]) -> Window:
    """Return the smallest box that holds all windows."""
    z0, y0, x0 = (min(window.start[axis] for window in windows) for axis in range(3))
    z1, y1, x1 = (max(window.stop[axis] for window in windows) for axis in range(3))
    return Window(start=(z0, y0, x0), stop=(z1, y1, x1))


def fit_windows(mask: Mask, *, cell: int, halo: int, most_voxels: int) -> tuple[Window, ...]:
    """Cover a mask (z, y, x) with windows of at most `most_voxels`, halo not counted.

    The box round the mask is cut in two where that spares most, and each part shrinks to what it holds, until no cut
    spares anything. A window is charged for half its halo, since valid convolutions use it up layer by layer. Empty
    mask: no windows.
    """
    cells = _touched_cells(mask, cell)
    if not cells.any():
        return ()
    fitting = _Fitting(cells=cells, cell=cell, halo=halo // 2, most_voxels=most_voxels)
    z, y, x = cells.shape
    return tuple(fitting.cut(fitting.shrunk(Window(start=(0, 0, 0), stop=(z, y, x)))))


def touched(mask: Mask, cell: int) -> Mask:
    """Return every voxel of each cell that the mask touches."""
    cells = _touched_cells(mask, cell)
    for axis in range(3):
        cells = cells.repeat(cell, axis=axis)
    z, y, x = mask.shape
    return cells[:z, :y, :x]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitting:
    """Windows over the cells of one mask, counted in cells until they are done."""

    cells: Mask
    cell: int
    halo: int  # voxels that are charged for
    most_voxels: int

    def cut(self, box: Window) -> Iterator[Window]:
        """Yield the windows, in voxels, that cover what a box holds."""
        size = box.voxels() * self.cell**3
        whole = self.cost([box])
        parts = min(self.cuts(box), key=self.cost, default=[box])
        if len(parts) == 1 or (size <= self.most_voxels and self.cost(parts) >= whole):
            z0, y0, x0 = (side * self.cell for side in box.start)
            z1, y1, x1 = (side * self.cell for side in box.stop)
            yield Window(start=(z0, y0, x0), stop=(z1, y1, x1))
            return
        for part in parts:
            yield from self.cut(part)

    def cuts(self, box: Window) -> Iterator[list[Window]]:
        """Yield every way to cut a shrunk box in two; a box that is too large is cut in its middle third."""
        halves = box.voxels() * self.cell**3 > self.most_voxels
        for axis, side in enumerate(box.shape):
            least = side // 3 if halves and side > 2 else 1
            for at in range(max(1, least), side - max(1, least) + 1):
                stop, start = list(box.stop), list(box.start)
                stop[axis] = start[axis] = box.start[axis] + at
                low = Window(start=box.start, stop=(stop[0], stop[1], stop[2]))
                high = Window(start=(start[0], start[1], start[2]), stop=box.stop)
                yield [self.shrunk(low), self.shrunk(high)]

    def cost(self, boxes: list[Window]) -> int:
        """Return the voxels that boxes are charged for."""
        sides = [[side * self.cell + 2 * self.halo for side in box.shape] for box in boxes]
        return sum(EACH_WINDOW + math.prod(three) for three in sides)

    def shrunk(self, box: Window) -> Window:
        """Return the smallest box round the cells that a box holds; it holds some."""
        held = self.cells[box.slices(self.cells.shape)]
        bounds = []
        for axis in range(3):
            hits = _any(held, *(other for other in range(3) if other != axis)).nonzero()[0]
            bounds.append((box.start[axis] + int(hits[0]), box.start[axis] + int(hits[-1]) + 1))
        (z0, z1), (y0, y1), (x0, x1) = bounds
        return Window(start=(z0, y0, x0), stop=(z1, y1, x1))


def _any(cells: Mask, *axes: int) -> Mask:
    # numpy types a reduction as "array or scalar"; over some of the axes it is an array
    return np.asarray(cells.any(axis=axes), dtype=np.bool_)


def _touched_cells(mask: Mask, cell: int) -> Mask:
    padded = np.pad(mask, [(0, -side % cell) for side in mask.shape])
    z, y, x = (side // cell for side in padded.shape)
    return _any(padded.reshape(z, cell, y, cell, x, cell), 1, 3, 5)
