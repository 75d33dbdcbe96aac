"""What may lead a model astray in a head that is fit: metal, a gap in the skull, a drain or shunt, motion, noise.

Each is one number, worked out on the head's blocks; the limits stand in the gate rules. Only slices that cut much of
the brain have a say, so that teeth, orbits and the foramen magnum do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from worker.head import DENSE_HU, METAL_HU, OPEN_END, SHELL_MM
from worker.midline import NEAR_MM, fit_midline

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.head import Head
    from worker.head_blocks import HeadBlocks
    from worker.volume import Volume

INSIDE_MM = 8.0  # a tube is looked for from here inwards: the inner table and its spurs lie further out
SLENDER_MM2 = 120.0  # cross-section of a tube of 3 to 5 mm in blocks of 4 mm; calcified choroid and nuclei are stouter
FALX_MM = 3 * NEAR_MM  # a calcified falx is long and slender too, and lies in the midline
NOISE_HU = (0, 100)  # block means among which noise is measured: brain, neither CSF alone nor bone
LEAST_PAIRS = 500  # of neighbouring pixels on a slice, for a noise that means something
TISSUE_HU = -300  # block mean halfway between air and skin, foam and blankets lie below
FULL_SHARE = 0.5  # of the largest brain area: such slices lie between skull base and vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefacts:
    """What was found; zero where there is nothing."""

    metal_ml: float
    """Blocks in or under the skull whose brightest voxel reaches METAL_HU."""
    skull_gap_cm2: float
    """The largest connected part of the brain's outline that has no bone near it."""
    tube_mm: float
    """Length of the longest dense, slender structure inside the brain and off the midline."""
    jump_mm: float
    """How far a slice's head lies from where the slices above and below put it, at most."""
    noise_hu: float
    """Standard deviation from pixel to pixel in brain; NaN where too little is seen. High with sharp kernels."""


def find_artefacts(volume: Volume, blocks: HeadBlocks, head: Head) -> Artefacts:
    """Look for all of them."""
    areas = blocks.brain_mm2
    cuts_brain = areas > OPEN_END * areas.max(initial=0.0)
    metal = (blocks.brightest >= METAL_HU) & (blocks.enclosed | blocks.bone) & cuts_brain[:, None, None]
    return Artefacts(
        metal_ml=blocks.volume_ml(metal),
        skull_gap_cm2=_skull_gap_cm2(blocks),
        tube_mm=_tube_mm(volume, blocks, head),
        jump_mm=_jump_mm(volume, blocks),
        noise_hu=_noise_hu(volume, blocks),
    )


def _skull_gap_cm2(blocks: HeadBlocks) -> float:
    areas = blocks.brain_mm2
    full = areas > FULL_SHARE * areas.max(initial=0.0)
    bare = blocks.outline & (blocks.bone_mm > SHELL_MM) & full[:, None, None]
    numbered, found = ndimage.label(bare, np.ones((3, 3, 3)))
    if found == 0:
        return 0.0
    per_block_mm2 = float(np.mean(blocks.step_mm)) * blocks.thickness_mm[np.nonzero(bare)[0]]
    return float(np.bincount(numbered[bare], weights=per_block_mm2).max() / 100.0)


def _tube_mm(volume: Volume, blocks: HeadBlocks, head: Head) -> float:
    """Measure the longest dense structure that is thin for its length and does not lie in the midline."""
    inner = np.zeros_like(blocks.brain)
    for n, plane in enumerate(blocks.brain):
        filled = np.pad(ndimage.binary_fill_holes(plane), 1)
        inner[n] = ndimage.distance_transform_edt(filled, sampling=blocks.step_mm)[1:-1, 1:-1] > INSIDE_MM
    dense = inner & (blocks.brightest >= DENSE_HU)
    numbered, found = ndimage.label(dense, np.ones((3, 3, 3)))
    if found == 0:
        return 0.0
    points = blocks.points_lps_mm(volume, dense)
    part = numbered[dense] - 1
    voxel_mm3 = blocks.area_mm2 * blocks.thickness_mm[np.nonzero(dense)[0]]
    slender = []
    for number in range(found):
        mine = points[part == number]
        length_mm = float(np.linalg.norm(np.ptp(mine, axis=0)))
        if length_mm > 0 and voxel_mm3[part == number].sum() / length_mm <= SLENDER_MM2:
            slender.append((length_mm, mine))
    midline = fit_midline(head) if slender else None
    return max(
        (
            length_mm
            for length_mm, mine in slender
            if midline is None or float(np.abs(midline.left_of_mm(mine)).max()) > FALX_MM
        ),
        default=0.0,
    )


def _jump_mm(volume: Volume, blocks: HeadBlocks) -> float:
    """Compare the centre of the head on each slice with the line between its neighbours."""
    areas = blocks.brain_mm2
    ks = np.flatnonzero(areas > FULL_SHARE * areas.max(initial=0.0))
    if len(ks) < 3:
        return 0.0
    offsets = volume.offsets_mm[blocks.ks[ks]]
    centres = np.array([_centre_mm(_head(blocks.mean[k]), blocks.step_mm) for k in ks])
    corners = np.array([volume.slices[blocks.ks[k]].position_lps_mm for k in ks])
    axes = np.array([volume.column_cosine, volume.row_cosine])
    placed = corners @ axes.T + centres
    share = ((offsets[1:-1] - offsets[:-2]) / (offsets[2:] - offsets[:-2]))[:, None]
    expected = placed[:-2] * (1.0 - share) + placed[2:] * share
    return float(np.linalg.norm(placed[1:-1] - expected, axis=1).max())


def _head(mean_ji: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Give the largest thing that is no air, its hollows filled: no head rest, no blanket."""
    numbered, _ = ndimage.label(ndimage.binary_opening(mean_ji > TISSUE_HU))
    largest = numbered == 1 + int(np.argmax(np.bincount(numbered.ravel(), minlength=2)[1:]))
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)


def _centre_mm(mask_ji: npt.NDArray[np.bool_], step_mm: tuple[float, float]) -> tuple[float, float]:
    j, i = np.nonzero(mask_ji)
    return float(j.mean()) * step_mm[0], float(i.mean()) * step_mm[1]


def _noise_hu(volume: Volume, blocks: HeadBlocks) -> float:
    """Take the median over slices of the spread between neighbouring pixels of a row, deep in the brain."""
    calm = blocks.deep & blocks.brain & (blocks.mean > NOISE_HU[0]) & (blocks.mean < NOISE_HU[1])
    per_slice = []
    for n in np.flatnonzero(calm.any(axis=(1, 2))):
        inside = np.kron(calm[n], np.ones(blocks.block_ji, dtype=bool))
        hu = volume.hu_kji[blocks.ks[n], : inside.shape[0], : inside.shape[1]].astype(np.int32)
        steps = np.diff(hu, axis=1)[inside[:, 1:] & inside[:, :-1]]
        if len(steps) >= LEAST_PAIRS:
            # Mean absolute deviation of a normal distribution is sqrt(2 / pi) of its standard deviation; two pixels.
            per_slice.append(float(np.abs(steps).mean()) * np.sqrt(np.pi / 2) / np.sqrt(2))
    return float(np.median(per_slice)) if per_slice else float("nan")
