"""A head worked out on a lattice: HU without noise, and the share of every lesion in every node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.phantoms.adult import STREAM_TEXTURE, Adult, draw_adult
from models.phantoms.bleeds import Bleed, grow_bleed, ventricle_growth_mm
from models.phantoms.brain import paint_brain, shape_ventricles
from models.phantoms.lattice import HeadSpace, Lattice
from models.phantoms.shapes import paint
from models.phantoms.shift import USUAL, Shift, aged
from models.phantoms.skull import AIR_HU, paint_skull, shape_cavity
from models.phantoms.texture import smooth_field

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.lesions import LesionRequest

LOWEST_MM, HIGHEST_MM = -92.0, 96.0
"""How far below and above the head's origin a lattice must reach to hold every lesion."""

_OEDEMA_HU = 20.0
_FOLD_LENGTH_MM = 3.6
_FOLD_SLOPE = 1.6  # mean length of the gradient of a field of correlation length 1
TEXTURE_LENGTH_MM = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPhantom:
    """A head with its lesions."""

    lattice: Lattice
    hu_zyx: npt.NDArray[np.float32]
    bleeds: tuple[Bleed, ...]

    def volume_ml(self, bleed: Bleed) -> float:
        """The volume that a bleed has on the lattice: the truth before any slice was laid through it."""
        return float(bleed.share.sum(dtype=np.float64)) * self.lattice.voxel_ml


def head_lattice(
    *, spacing_zyx_mm: tuple[float, float, float] = (1.0, 1.0, 1.0), lowest_mm: float = LOWEST_MM
) -> Lattice:
    """Return a lattice that holds a whole head, further down where asked for."""
    return Lattice.spanning((-92.0, -118.0, min(lowest_mm, LOWEST_MM)), (92.0, 112.0, HIGHEST_MM), spacing_zyx_mm)


def make_head(
    lattice: Lattice, seed: int, lesions: tuple[LesionRequest, ...] = (), shift: Shift = USUAL
) -> HeadPhantom:
    """Work out the head of that seed; raise PhantomInvalid where the lesions do not fit."""
    adult = aged(draw_adult(seed), shift.ageing)
    return compose_head(lattice, adult, lesions, blood_hu=shift.blood_hu)


def compose_head(
    lattice: Lattice, adult: Adult, lesions: tuple[LesionRequest, ...], *, blood_hu: float = 0.0
) -> HeadPhantom:
    """Work out a given adult's head with lesions; the later ones take only what the earlier ones left.

    `blood_hu` is added to every bleed's density.
    """
    space = HeadSpace(lattice, adult.pose)
    texture = smooth_field(lattice, length_mm=TEXTURE_LENGTH_MM, key=adult.key(STREAM_TEXTURE, 1))
    folds = smooth_field(lattice, length_mm=_FOLD_LENGTH_MM, key=adult.key(STREAM_TEXTURE, 2))
    folds *= np.float32(_FOLD_LENGTH_MM / _FOLD_SLOPE)
    cavity = shape_cavity(space, adult)
    ventricle_mm = shape_ventricles(space, adult)
    ventricle_mm -= np.float32(ventricle_growth_mm(lesions, ventricle_mm, lattice.voxel_ml))
    hu_zyx = np.full(lattice.shape_zyx, np.float32(AIR_HU))
    paint_skull(hu_zyx, space, adult, cavity, texture)
    brain = paint_brain(hu_zyx, space, adult, cavity, folds=folds, texture=texture, ventricle_mm=ventricle_mm)
    taken = np.zeros(lattice.shape_zyx, dtype=np.float32)
    bleeds = []
    for number, request in enumerate(lesions):
        grown = grow_bleed(request, number, space=space, adult=adult, brain=brain, taken=taken, texture=texture)
        bleed = replace(grown, mean_hu=grown.mean_hu + blood_hu)
        if bleed.oedema is not None:
            paint(hu_zyx[bleed.box], _OEDEMA_HU, bleed.oedema)
            taken[bleed.box] += bleed.oedema
        paint(hu_zyx[bleed.box], np.float32(bleed.mean_hu) + np.float32(1.5) * texture[bleed.box], bleed.share)
        taken[bleed.box] += bleed.share
        bleeds.append(bleed)
    return HeadPhantom(lattice=lattice, hu_zyx=hu_zyx, bleeds=tuple(bleeds))
