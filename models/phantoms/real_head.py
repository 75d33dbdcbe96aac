"""The head of a person as the place where bleeds are drawn: its inner table, and what of its brain is fluid.

Nobody drew this head's sulci, ventricles or tentorium. So blood in sulci and ventricles is refused, and the tentorium
is where it lies in the phantoms, laid over this head by the ends of its cavity: good enough to keep a bleed above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from models.phantoms.adult import STREAM_TEXTURE, draw_adult
from models.phantoms.bleeds import Bleed, grow_bleed
from models.phantoms.brain import Brain, hind_mm
from models.phantoms.head import TEXTURE_LENGTH_MM
from models.phantoms.lattice import HeadSpace, Lattice, Pose
from models.phantoms.lesions import PhantomInvalid
from models.phantoms.skull import CAVITY_CENTRE_MM, CAVITY_TOP_MM
from models.phantoms.texture import smooth_field
from models.tissue import intracranial_tissue

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.lattice import Point
    from models.phantoms.lesions import LesionKind, LesionRequest
    from models.segmenter import HeadGrid

    Mask = npt.NDArray[np.bool_]

PAINTED_KINDS: frozenset[LesionKind] = frozenset({"iph", "sdh", "edh"})

_SOFT_HU = (-15.0, 110.0)  # CSF, brain, oedema, blood; neither fat nor bone
_FLUID_HU = 17.0
_BLUR_MM = 1.0  # noise must not tear holes into soft tissue
_PASSAGE_MM = 3.0  # radius: thinner bridges lead out of the skull
_LEAST_CAVITY_ML = 400.0  # less is no adult's head, or half of one
_RIM_MM = 4.0  # fluid nearer to the skull than this is no ventricle


@dataclass(frozen=True, slots=True, kw_only=True)
class RealHead:
    """A head on a lattice whose nodes are the grid's voxels, 0 in the middle of the grid."""

    space: HeadSpace
    brain: Brain
    middle_x: float  # of the grid: the column, in voxels, that halves the head

    @classmethod
    def of(cls, grid: HeadGrid) -> RealHead:
        """Find the cavity in a scan; raise PhantomInvalid where there is too little of it."""
        lattice = _lattice(grid)
        cavity = _cavity(grid)
        if float(cavity.sum()) * lattice.voxel_ml < _LEAST_CAVITY_ML:
            raise PhantomInvalid("There is no whole head in this scan: bleeds cannot be drawn into it.")
        sampling = grid.spacing_zyx_mm
        depth_mm = _signed_mm(cavity, sampling)
        blurred = ndimage.gaussian_filter(grid.hu_zyx, [2 * _BLUR_MM / step for step in sampling])
        fluid = (blurred < _FLUID_HU) & (depth_mm > _RIM_MM)
        origin_mm = _origin_mm(cavity, lattice)
        space = HeadSpace(lattice, Pose(rotation=np.eye(3), shift_lps_mm=origin_mm))
        tissue = (cavity & ~fluid).astype(np.float32)
        return cls(
            space=space,
            brain=Brain(
                depth_mm=depth_mm,
                subarachnoid_mm=np.zeros(0, dtype=np.float32),  # nobody drew it
                ventricle_mm=-_signed_mm(fluid, sampling),
                supratentorial_mm=-hind_mm(space.points),
                tissue=tissue,
                cavity=cavity.astype(np.float32),
            ),
            middle_x=(origin_mm[0] - lattice.first_zyx_mm[2]) / lattice.spacing_zyx_mm[2],
        )

    def grow(self, lesions: tuple[LesionRequest, ...], seed: int) -> tuple[Bleed, ...]:
        """Grow the bleeds, later ones beside earlier ones; raise PhantomInvalid for one that cannot be."""
        refused = sorted({one.kind for one in lesions} - PAINTED_KINDS)
        if refused:
            raise PhantomInvalid(
                f"An {refused[0]} cannot be drawn into the head of a person: nobody knows its sulci and ventricles."
            )
        adult = draw_adult(seed)  # nothing but its random streams is used
        lattice = self.space.lattice
        texture = smooth_field(lattice, length_mm=TEXTURE_LENGTH_MM, key=adult.key(STREAM_TEXTURE, 1))
        taken = np.zeros(lattice.shape_zyx, dtype=np.float32)
        bleeds = []
        for number, request in enumerate(lesions):
            bleed = grow_bleed(
                request, number, space=self.space, adult=adult, brain=self.brain, taken=taken, texture=texture
            )
            if bleed.oedema is not None:
                taken[bleed.box] += bleed.oedema
            taken[bleed.box] += bleed.share
            bleeds.append(bleed)
        return tuple(bleeds)


def _cavity(grid: HeadGrid) -> Mask:
    """Return what the inner table encloses: the largest piece of soft tissue in the skull, less thin bridges."""
    blur = [0.0, *(_BLUR_MM / step for step in grid.spacing_zyx_mm[1:])]
    hu = ndimage.gaussian_filter(grid.hu_zyx, blur)
    soft = (hu > _SOFT_HU[0]) & (hu < _SOFT_HU[1]) & grid.scanned_zyx & intracranial_tissue(grid)
    core = ndimage.distance_transform_edt(soft, sampling=grid.spacing_zyx_mm) > _PASSAGE_MM
    pieces, count = ndimage.label(core)
    if not count:
        return np.zeros(soft.shape, dtype=np.bool_)
    core = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    grown = ndimage.distance_transform_edt(~core, sampling=grid.spacing_zyx_mm) <= _PASSAGE_MM
    inner = grown & soft
    # calcified plexus and pineal are dense, and old infarcts nearly fluid
    return np.stack([ndimage.binary_fill_holes(plane) for plane in inner])


def _signed_mm(mask: Mask, sampling: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    """Return the distance to the mask's border in mm: positive inside, 0 between the voxels on either side."""
    if not mask.any():
        return np.full(mask.shape, -np.inf, dtype=np.float32)
    half = 0.5 * min(sampling)
    within = ndimage.distance_transform_edt(mask, sampling=sampling) - half
    without = ndimage.distance_transform_edt(~mask, sampling=sampling) - half
    signed: npt.NDArray[np.float32] = np.where(mask, within, -without).astype(np.float32)
    return signed


def _origin_mm(cavity: Mask, lattice: Lattice) -> Point:
    """Return where the phantoms' origin lies: this cavity's vertex, forehead and back of the head are theirs."""
    ends = []
    for axis in range(3):
        places = lattice.axis_mm(axis)[cavity.any(axis=tuple(other for other in range(3) if other != axis))]
        ends.append((float(places[0]), float(places[-1])))
    (_, top), (front, back), (right, left) = ends
    return (right + left) / 2, (front + back) / 2 - CAVITY_CENTRE_MM[1], top - CAVITY_TOP_MM


def _lattice(grid: HeadGrid) -> Lattice:
    z, y, x = (-0.5 * step * (count - 1) for step, count in zip(grid.spacing_zyx_mm, grid.hu_zyx.shape, strict=True))
    depth, rows, columns = grid.hu_zyx.shape
    return Lattice(first_zyx_mm=(z, y, x), spacing_zyx_mm=grid.spacing_zyx_mm, shape_zyx=(depth, rows, columns))
