"""A volume in blocks of about 4 mm: where bone, soft tissue and the brain inside the skull lie.

Brain is soft tissue that bone encloses in at least seven of eight in-plane directions; an air-filled skull has none, a
neck or a trunk has little, and what lies there has no bone close around it. Arrays are (slice, row, column) of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.volume import Volume

BLOCK_MM = 4.0
BONE_HU = 250  # above contrast in veins and clotted blood, below the thinnest adult squama in a 4 mm block
SOFT_HU = (-10, 110)  # CSF to clotted blood, block means
DIRECTIONS_ENCLOSED = 7  # of eight; one may look out through a foramen, an orbit or a craniectomy
DEEP_MM = 20.0  # from the brain's outline, in the plane: beyond the skull, its inner spurs and the large sinuses


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadBlocks:
    """The blocks of a volume."""

    ks: npt.NDArray[np.intp]
    """Which slices of the volume stand here."""
    block_ji: tuple[int, int]
    """Rows and columns of one block, in pixels."""
    step_mm: tuple[float, float]
    """Height and width of one block."""
    thickness_mm: npt.NDArray[np.float64]
    """Share of the normal that each slice stands for, the left-out ones' included."""
    brightest: npt.NDArray[np.int16]
    mean: npt.NDArray[np.float32]
    bone: npt.NDArray[np.bool_]
    enclosed: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]
    outline: npt.NDArray[np.bool_]
    """The brain's outermost blocks in each slice."""
    bone_mm: npt.NDArray[np.float64]
    """In-plane distance to the nearest bone; large where a slice has none."""
    deep: npt.NDArray[np.bool_]
    """More than DEEP_MM inside the brain's outline, what is as bright as bone there included."""

    @property
    def area_mm2(self) -> float:
        """Area of one block in the plane."""
        return self.step_mm[0] * self.step_mm[1]

    @property
    def brain_mm2(self) -> npt.NDArray[np.float64]:
        """Area of brain on each slice."""
        return np.asarray(self.brain.sum(axis=(1, 2)) * self.area_mm2, dtype=np.float64)

    def volume_ml(self, mask: npt.NDArray[np.bool_]) -> float:
        """Give the volume of the blocks in a mask."""
        return float((mask.sum(axis=(1, 2)) * self.area_mm2 * self.thickness_mm).sum() / 1000.0)

    def points_lps_mm(self, volume: Volume, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Give the (N, 3) centres of the blocks in a mask."""
        k, j, i = np.nonzero(mask)
        half = (self.block_ji[0] - 1) / 2, (self.block_ji[1] - 1) / 2
        corners = np.array([volume.slices[n].position_lps_mm for n in self.ks])
        points: npt.NDArray[np.float64] = (
            corners[k]
            + np.outer((j * self.block_ji[0] + half[0]) * volume.row_spacing_mm, volume.column_cosine)
            + np.outer((i * self.block_ji[1] + half[1]) * volume.column_spacing_mm, volume.row_cosine)
        )
        return points


def block_head(volume: Volume) -> HeadBlocks:
    """Divide a volume into blocks and find bone and brain in them."""
    ks, block_ji = _blocks(volume)
    step_mm = (block_ji[0] * volume.row_spacing_mm, block_ji[1] * volume.column_spacing_mm)
    brightest, mean = _block_values(volume, ks, block_ji)
    bone = brightest >= BONE_HU
    soft = (mean > SOFT_HU[0]) & (mean < SOFT_HU[1])
    enclosed = _directions_with(bone) >= DIRECTIONS_ENCLOSED
    brain = _largest(enclosed & soft, enclosed & ~bone)
    return HeadBlocks(
        ks=ks,
        block_ji=block_ji,
        step_mm=step_mm,
        thickness_mm=_thickness(volume, ks),
        brightest=brightest,
        mean=mean,
        bone=bone,
        enclosed=enclosed,
        brain=brain,
        outline=brain & ~ndimage.binary_erosion(brain, in_plane()),
        bone_mm=_bone_distance(bone, step_mm),
        deep=_deep(brain, step_mm),
    )


def in_plane() -> npt.NDArray[np.bool_]:
    """Give the 3 x 3 x 3 structure of four neighbours in the plane and none across slices."""
    plane = np.zeros((3, 3, 3), dtype=bool)
    plane[1] = ndimage.generate_binary_structure(2, 1)
    return plane


def _blocks(volume: Volume) -> tuple[npt.NDArray[np.intp], tuple[int, int]]:
    """Choose slices about BLOCK_MM apart, always the end ones, and the block's size in rows and columns."""
    wanted = [0]
    for k in range(1, len(volume.offsets_mm)):
        if volume.offsets_mm[k] - volume.offsets_mm[wanted[-1]] >= 0.75 * BLOCK_MM or k == len(volume.offsets_mm) - 1:
            wanted.append(k)
    sizes = [max(1, round(BLOCK_MM / step)) for step in (volume.row_spacing_mm, volume.column_spacing_mm)]
    _, rows, columns = volume.hu_kji.shape
    return np.array(wanted, dtype=np.intp), (min(sizes[0], rows), min(sizes[1], columns))


def _block_values(
    volume: Volume, ks: npt.NDArray[np.intp], block_ji: tuple[int, int]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Give each block's brightest voxel and mean; remainders at the far borders are left out."""
    rows, columns = (volume.hu_kji.shape[axis + 1] // block_ji[axis] for axis in (0, 1))
    brightest = np.empty((len(ks), rows, columns), dtype=np.int16)
    mean = np.empty((len(ks), rows, columns), dtype=np.float32)
    for n, k in enumerate(ks):
        part = volume.hu_kji[k, : rows * block_ji[0], : columns * block_ji[1]]
        by_row = part.reshape(rows, block_ji[0], -1)
        brightest[n] = by_row.max(axis=1).reshape(rows, columns, block_ji[1]).max(axis=2)
        mean[n] = by_row.sum(axis=1, dtype=np.int32).reshape(rows, columns, block_ji[1]).sum(axis=2)
    mean /= block_ji[0] * block_ji[1]
    return brightest, mean


def _directions_with(bone: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    """Count for each block in how many of eight in-plane directions bone lies."""
    count = np.zeros(bone.shape, dtype=np.int8)
    for axis in (1, 2):
        count += np.logical_or.accumulate(bone, axis=axis)
        count += np.flip(np.logical_or.accumulate(np.flip(bone, axis), axis=axis), axis)
    for flip_rows in (False, True):
        for flip_columns in (False, True):
            axes = tuple(axis for axis, flip in ((1, flip_rows), (2, flip_columns)) if flip)
            seen = np.flip(bone, axes).copy()
            for j in range(1, seen.shape[1]):  # each row takes over what the row before saw, one column on
                seen[:, j, 1:] |= seen[:, j - 1, :-1]
            count += np.flip(seen, axes)
    return count


def _largest(core: npt.NDArray[np.bool_], within: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Open the core by one block in the plane, keep its largest connected part and grow that back."""
    plane = in_plane()
    parts, found = ndimage.label(ndimage.binary_erosion(core, plane))
    if found == 0:
        return np.zeros_like(core)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    grown: npt.NDArray[np.bool_] = ndimage.binary_dilation(largest, plane, mask=core | largest) & within
    return grown


def _thickness(volume: Volume, ks: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Share of the normal that each chosen slice stands for, the left-out ones' included."""
    nearest = np.abs(volume.offsets_mm[:, None] - volume.offsets_mm[ks][None, :]).argmin(axis=1)
    return np.bincount(nearest, weights=volume.shares_mm, minlength=len(ks)).astype(np.float64)


def _bone_distance(bone: npt.NDArray[np.bool_], step_mm: tuple[float, float]) -> npt.NDArray[np.float64]:
    distance = np.full(bone.shape, 1000.0)
    for n, plane in enumerate(bone):
        if plane.any():
            distance[n] = ndimage.distance_transform_edt(~plane, sampling=step_mm)
    return distance


def _deep(brain: npt.NDArray[np.bool_], step_mm: tuple[float, float]) -> npt.NDArray[np.bool_]:
    deep = np.zeros_like(brain)
    for n, plane in enumerate(brain):
        filled = np.pad(ndimage.binary_fill_holes(plane), 1)
        deep[n] = ndimage.distance_transform_edt(filled, sampling=step_mm)[1:-1, 1:-1] > DEEP_MM
    return deep
