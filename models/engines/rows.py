"""Voxels as rows of channels: which ones of a window are wanted, and where a coarse path's features of them lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.engines.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class CoarseLattice:
    """The lattice of a coarse path over a region whose first voxel lies on it."""

    factor: int
    shape: tuple[int, int, int]

    def rows_at(self, zyx: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the row of each voxel (3, n) of the region, in C order of the lattice."""
        z, y, x = zyx // self.factor
        rows: npt.NDArray[np.int32] = np.ravel_multi_index((z, y, x), self.shape).astype(np.int32)
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRows:
    """The wanted voxels of one window, in the order of the array."""

    fine: torch.Tensor  # (n,) int32: the row within the window
    coarse: tuple[torch.Tensor, ...]  # (n,) int32 each: the row of each coarse path's features

    @classmethod
    def of(
        cls,
        wanted: npt.NDArray[np.bool_],
        lattices: Sequence[CoarseLattice],
        *,
        first: tuple[int, int, int],
        device: torch.device,
    ) -> WantedRows:
        """Find the rows of a window (D, H, W) that begins at `first` in the region."""
        zyx = np.stack(np.nonzero(wanted)) + np.asarray(first)[:, None]
        return cls(
            fine=torch.from_numpy(np.flatnonzero(wanted).astype(np.int32)).to(device),
            coarse=tuple(torch.from_numpy(lattice.rows_at(zyx)).to(device) for lattice in lattices),
        )

    def joined(self, fine: torch.Tensor, coarse: Sequence[torch.Tensor], these: slice) -> torch.Tensor:
        """Put the rows of some voxels together, (m, C), coarse paths first; all are of one type."""
        paths = [rows.index_select(0, at[these]) for rows, at in zip(coarse, self.coarse, strict=True)]
        return torch.cat([*paths, fine.index_select(0, self.fine[these])], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A window, the rows that are wanted of it, and their places among all wanted voxels of the grid."""

    window: Window
    rows: WantedRows
    at: torch.Tensor  # (n,) int64


class WantedVoxels:
    """The voxels of a grid that are computed, in the order of the array."""

    def __init__(self, wanted_zyx: npt.NDArray[np.bool_]) -> None:
        self._wanted = wanted_zyx
        self._flat = np.flatnonzero(wanted_zyx)
        self.count = len(self._flat)

    def cut(self, window: Window, region: Window, lattices: Sequence[CoarseLattice], device: torch.device) -> Cut:
        """Find what is wanted of a window that lies in a region."""
        index = window.slices(self._wanted.shape)
        inside = self._wanted[index]
        wanted = np.zeros(window.shape, dtype=np.bool_)  # the window may reach past the grid's end
        wanted[tuple(slice(0, side) for side in inside.shape)] = inside
        zyx = tuple(places + part.start for places, part in zip(np.nonzero(inside), index, strict=True))
        at = np.searchsorted(self._flat, np.ravel_multi_index(zyx, self._wanted.shape))
        return Cut(
            window=window,
            rows=WantedRows.of(wanted, lattices, first=window.within(region), device=device),
            at=torch.from_numpy(at).to(device),
        )

    def put(self, onto_zyx: npt.NDArray[Any], rows: npt.NDArray[Any]) -> None:
        """Write one value for each wanted voxel onto an array of the grid's shape."""
        onto_zyx.reshape(-1)[self._flat] = rows


def rows_of(features: torch.Tensor) -> torch.Tensor:
    """Return features (1, C, D, H, W) as rows (D x H x W, C)."""
    return features.permute(0, 2, 3, 4, 1).reshape(-1, features.shape[1])
