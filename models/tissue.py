"""Where intracranial tissue can be: a conservative mask from HU and geometry, to spare work, never to judge.

Two answers are joined, each of which covers what the other may miss:

- *enclosed*: what lies inside the skull when holes up to 36 mm across (foramen magnum, burr holes, sutures) are
  bridged; this covers an intact head, and the vertex of one that was scanned only in part;
- *connected*: soft tissue that hangs together over passages of 8 mm and more with a large body of soft tissue that
  bone encloses; this covers the brain under a craniectomy, where bridging fails.

The second is widened by a margin. Where no skull can be found, all scanned tissue counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.segmenter import HeadGrid

    Mask = npt.NDArray[np.bool_]

COARSE_MM = 3.0  # fine enough for margins of 6 mm, and 27 times fewer voxels than the models' grid
BONE_HU = 200.0  # partial volume brings thin bone down to this; brain, blood and clot stay below 120
AIR_HU = -300.0
TISSUE_HU = (-20.0, 150.0)  # brain, CSF, oedema, blood and what partial volume makes of them; not fat, not bone
BRIDGED_MM = 18.0  # radius; the foramen magnum is about 35 mm across
PASSAGE_MM = 4.0  # radius
MARGIN_MM = 6.0
LEAST_BONE_ML = 10.0  # less is a table, a clip or a tooth, not a skull
MOST_AIR_ROUND_BONE = 0.6  # a bare skull phantom is mostly in air too: then all scanned tissue counts
LEAST_BODY_ML = 2.0


def intracranial_tissue(grid: HeadGrid) -> Mask:
    """Return (z, y, x) True wherever intracranial tissue can be; it covers far more than there is."""
    steps = tuple(max(1, round(COARSE_MM / spacing)) for spacing in grid.spacing_zyx_mm)
    spacing_mm = tuple(step * spacing for step, spacing in zip(steps, grid.spacing_zyx_mm, strict=True))
    in_range = (grid.hu_zyx > TISSUE_HU[0]) & (grid.hu_zyx < TISSUE_HU[1]) & grid.scanned_zyx
    tissue = _any_in_block(in_range, steps)
    bone = _any_in_block((grid.hu_zyx > BONE_HU) & grid.scanned_zyx, steps)
    air = ~_any_in_block(grid.hu_zyx > AIR_HU, steps) & _any_in_block(grid.scanned_zyx, steps)
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    bone = _skull(bone, air, LEAST_BONE_ML / voxel_ml)
    inside = _head_inside(bone, air, tissue, spacing_mm, voxel_ml) if bone.any() else np.ones_like(bone)
    # partial volume makes the rim of blood against the skull as dense as bone: what touches tissue counts too
    near: Mask = ndimage.binary_dilation(tissue, structure=np.ones((3, 3, 3)))
    return _refine(inside & near, steps, grid.hu_zyx.shape)


def _head_inside(bone: Mask, air: Mask, tissue: Mask, spacing_mm: tuple[float, ...], voxel_ml: float) -> Mask:
    """Join what is enclosed and what is connected, on the coarse grid."""
    enclosed = ~_reached_from_outside(bone, air, spacing_mm)
    soft = tissue & ~bone
    # passages narrower than this are cut; the border of the array is no wall, the scan just ends there
    core = _distance_mm(soft, spacing_mm) > PASSAGE_MM
    labels, count = ndimage.label(core)
    connected = np.zeros_like(bone)
    if count:
        index = np.arange(1, count + 1)
        sizes = ndimage.sum_labels(core, labels, index)
        enclosed_share = ndimage.mean(enclosed, labels, index)
        keep = (sizes * voxel_ml >= LEAST_BODY_ML) & (enclosed_share >= 0.5)
        keep[int(np.argmax(sizes))] = True
        connected = np.isin(labels, index[keep])
        connected = _distance_mm(~connected, spacing_mm) <= PASSAGE_MM + MARGIN_MM
    # the outermost layer of what is enclosed is the skull's outside; whatever it holds is reached by the margin above
    inside: Mask = connected | (_distance_mm(enclosed, spacing_mm) > max(spacing_mm))
    return inside


def _reached_from_outside(bone: Mask, air: Mask, spacing_mm: tuple[float, ...]) -> Mask:
    """What a ball of BRIDGED_MM radius sweeps that starts in the air round the head and never touches bone."""
    to_bone_mm = _distance_mm(~bone, spacing_mm)
    free = to_bone_mm > BRIDGED_MM
    labels, count = ndimage.label(free)
    if not count:
        return np.zeros_like(bone)
    # air in sinuses and mastoids is nearer to bone than the ball's radius, so any free air lies outside
    outside = np.isin(labels, np.unique(labels[free & air]))
    outside &= free
    if not outside.any():
        return np.zeros_like(bone)
    swept: Mask = (_distance_mm(~outside, spacing_mm) < BRIDGED_MM) & ~bone
    return swept


def _distance_mm(mask: Mask, spacing_mm: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Distance of each True voxel from the nearest False one; infinite where there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    distance: npt.NDArray[np.float64] = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    return distance


def _skull(dense: Mask, air: Mask, least_voxels: float) -> Mask:
    """Keep the large dense parts that lie in tissue; a headrest lies in air."""
    labels, count = ndimage.label(dense, structure=np.ones((3, 3, 3)))
    kept = np.zeros_like(dense)
    for number in np.flatnonzero(np.bincount(labels.ravel(), minlength=count + 1)[1:] >= least_voxels) + 1:
        part = labels == number
        rim = ndimage.binary_dilation(part) & ~part
        if np.mean(air[rim]) < MOST_AIR_ROUND_BONE:
            kept |= part
    return kept


def _any_in_block(mask: Mask, steps: tuple[int, ...]) -> Mask:
    """Whether any voxel of each block is True; the last block of an axis may be cut."""
    padded = np.pad(mask, [(0, -side % step) for side, step in zip(mask.shape, steps, strict=True)])
    z, y, x = (side // step for side, step in zip(padded.shape, steps, strict=True))
    return np.asarray(padded.reshape(z, steps[0], y, steps[1], x, steps[2]).any(axis=(1, 3, 5)), dtype=np.bool_)


def _refine(coarse: Mask, steps: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    fine = coarse.repeat(steps[0], axis=0).repeat(steps[1], axis=1).repeat(steps[2], axis=2)
    cut: Mask = fine[: shape[0], : shape[1], : shape[2]]
    return cut
