"""Where the voxels of a mask lie: an affine to patient millimetres, with the gantry tilt that it may hold.

Of slices at uneven distances an affine can give the mean distance only; where the scan says more, `SlicePlaces` holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_RIGHT_ANGLE = 1e-3  # cosine between axes from which a grid counts as sheared: rounded headers stay below
_SAME_PLACE = 0.5  # of the smallest voxel side, at every corner of the volume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlicePlaces:
    """Where slices k at uneven distances lie, and what each stands for."""

    first_ras_mm: npt.NDArray[np.float64]  # (K, 3), of the voxel (0, 0, k)
    shares_mm: npt.NDArray[np.float64]  # (K,), of the way along the slices' normal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskGrid:
    """A grid of voxels with axes (i, j, k); `affine_ras` takes indices to mm, right-anterior-superior, as in NIfTI."""

    shape: tuple[int, int, int]
    affine_ras: npt.NDArray[np.float64]
    slices: SlicePlaces | None = None  # of uneven ones; the affine then gives their mean distance

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along each axis."""
        i, j, k = (float(side) for side in np.linalg.norm(self.affine_ras[:3, :3], axis=0))
        return i, j, k

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel: the determinant, so that a sheared voxel counts what it holds; a mean over the slices."""
        i, j, k = self.affine_ras[:3, :3].T
        return abs(float(np.cross(i, j) @ k)) / 1000.0  # numpy's determinant is off in its last digits

    @property
    def sheared(self) -> bool:
        """Whether the axes are not at right angles, as in a scan with tilted gantry."""
        unit = self.affine_ras[:3, :3] / np.array(self.spacing_mm)
        return bool(np.abs(unit.T @ unit - np.eye(3)).max() > _RIGHT_ANGLE)

    @property
    def slice_ml(self) -> npt.NDArray[np.float64]:
        """(K,) volume of a voxel of every slice k."""
        slice_ml: npt.NDArray[np.float64]
        if self.slices is None:
            slice_ml = np.full(self.shape[2], self.voxel_ml)
        else:
            pixel_mm2 = float(np.linalg.norm(np.cross(self.affine_ras[:3, 0], self.affine_ras[:3, 1])))
            slice_ml = self.slices.shares_mm * (pixel_mm2 / 1000.0)
        return slice_ml

    def volume_ml(self, mask_ijk: npt.NDArray[np.bool_]) -> float:
        """Return the volume of a mask."""
        if self.slices is None:
            return int(np.count_nonzero(mask_ijk)) * self.voxel_ml
        return float(np.count_nonzero(mask_ijk, axis=(0, 1)) @ self.slice_ml)

    def volumes_ml(self, parts_ijk: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.float64]:
        """Return the volumes, (count + 1,), of the parts numbered 0 to `count`."""
        volumes: npt.NDArray[np.float64]
        if self.slices is None:  # counted first: a sum of equal fractions may end below the product
            volumes = np.multiply(np.bincount(parts_ijk.ravel(), minlength=count + 1), self.voxel_ml, dtype=np.float64)
        else:
            by_slice = [np.bincount(parts_ijk[:, :, k].ravel(), minlength=count + 1) for k in range(self.shape[2])]
            volumes = self.slice_ml @ np.array(by_slice)
        return volumes

    def places_mm(self, indices: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the places, (n, 3), of voxel indices (n, 3)."""
        places: npt.NDArray[np.float64]
        if self.slices is None:
            places = indices @ self.affine_ras[:3, :3].T + self.affine_ras[:3, 3]
        else:
            places = indices[:, :2] @ self.affine_ras[:3, :2].T + self.slices.first_ras_mm[indices[:, 2]]
        return places

    def lies_with(self, other: MaskGrid) -> bool:
        """Whether both grids have one shape and their corners the same places, up to half a voxel."""
        if self.shape != other.shape:
            return False
        corners = np.array(list(product(*((0, count - 1) for count in self.shape))))
        apart = np.linalg.norm(self.places_mm(corners) - other.places_mm(corners), axis=1)
        return bool(apart.max() <= _SAME_PLACE * min(self.spacing_mm))
