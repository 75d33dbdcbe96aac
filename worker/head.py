"""What a volume shows of a head, in HU space: brain inside a skull, how much of it, and the head's own midline.

Works on blocks of about 4 mm (worker/head_blocks.py). A volume without a head gives zero brain, never an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from worker.findings import Coverage
from worker.head_blocks import HeadBlocks, block_head

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.volume import Volume

DENSE_HU = 150  # no blood and no noise of a routine head protocol
METAL_HU = 2800  # above enamel and petrous bone; what is this bright may be a clip, and says nothing of contrast
SHELL_MM = 12.0  # brain lies this close under its bone
OPEN_END = 0.35  # an end slice with more than this share of the largest brain area cuts the brain
WHOLE_HEIGHT_MM = 115.0  # vertex to skull base of a small adult head; lower slices show skull base and neck


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head in a volume, on coarse blocks."""

    brain_ml: float
    shell_share: float
    """Share of the brain's in-plane outline that has bone within SHELL_MM, 0 to 1."""
    median_hu: float
    """Median of the brain's block means; NaN without brain."""
    dense_ml: float
    """Volume of blocks deep in the brain whose brightest voxel reaches DENSE_HU: contrast, calcium, metal."""
    points_lps_mm: npt.NDArray[np.float64]
    """(N, 3) centres of the brain's blocks."""
    point_ml: npt.NDArray[np.float64]
    """(N,) volume of each block."""
    skull_lps_mm: npt.NDArray[np.float64]
    """(M, 3) centres of the bone blocks outside the brain, on slices that cut it."""
    coverage: Coverage


def survey_head(volume: Volume, blocks: HeadBlocks | None = None) -> Head:
    """Find the head in a volume, or in the blocks already made of it."""
    blocks = block_head(volume) if blocks is None else blocks
    brain = blocks.brain
    per_slice_ml = blocks.area_mm2 * blocks.thickness_mm / 1000.0
    dense = blocks.deep & (blocks.brightest >= DENSE_HU) & (blocks.brightest < METAL_HU)
    return Head(
        brain_ml=blocks.volume_ml(brain),
        shell_share=_shell_share(blocks),
        median_hu=float(np.median(blocks.mean[brain])) if brain.any() else float("nan"),
        dense_ml=blocks.volume_ml(dense),
        points_lps_mm=blocks.points_lps_mm(volume, brain),
        point_ml=per_slice_ml[np.nonzero(brain)[0]],
        skull_lps_mm=blocks.points_lps_mm(volume, _skull(blocks)),
        coverage=_coverage(volume, blocks.ks, blocks.brain_mm2),
    )


def _skull(blocks: HeadBlocks) -> npt.NDArray[np.bool_]:
    """Give bone that does not lie inside the brain: no calcified choroid, no clip."""
    cuts_brain = np.asarray(blocks.brain.any(axis=(1, 2)), dtype=np.bool_)
    skull = blocks.bone & cuts_brain[:, None, None]
    for n in np.flatnonzero(skull.any(axis=(1, 2))):
        skull[n] &= ~ndimage.binary_fill_holes(blocks.brain[n])
    return skull


def _shell_share(blocks: HeadBlocks) -> float:
    if not blocks.outline.any():
        return 0.0
    return float((blocks.bone_mm[blocks.outline] <= SHELL_MM).mean())


def _coverage(volume: Volume, ks: npt.NDArray[np.intp], areas: npt.NDArray[np.float64]) -> Coverage:
    """Say whether the scan reaches over the vertex and down to the skull base.

    The top is open where the highest slice still cuts much brain. The base is reached where the lowest slice cuts
    little brain, or lies far enough below the vertex.
    """
    lowest, highest = float(volume.offsets_mm[0]), float(volume.offsets_mm[-1])
    whole = False
    if areas.max(initial=0.0) > 0:
        cut = areas > OPEN_END * areas.max()
        vertex_mm = float(volume.offsets_mm[ks[np.flatnonzero(areas > 0)[-1]]])
        whole = not cut[-1] and (not cut[0] or vertex_mm - lowest >= WHOLE_HEIGHT_MM)
    return Coverage(whole_head=bool(whole), lowest_mm=lowest, highest_mm=highest)
