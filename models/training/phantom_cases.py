"""Phantom heads as training cases: volumes on a model's grid, made without the detour over DICOM.

Anatomy, pose, contrast, slice thickness, noise and lesions are drawn anew for every seed, over a wider range than the
phantoms that people see. Training seeds begin at `TRAINING_SEED`, far from those that people choose for phantoms, and
seeds from `HELD_OUT_SEED` on are for measuring only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.phantoms.adult import draw_adult
from models.phantoms.head import HIGHEST_MM, LOWEST_MM, compose_head
from models.phantoms.lattice import Lattice, Pose
from models.phantoms.lesions import LesionRequest, PhantomInvalid
from models.phantoms.truth import LABEL_OF_KIND, LABELS
from models.segmenter import OUTSIDE_HU

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.adult import Adult
    from models.phantoms.head import HeadPhantom
    from models.phantoms.lesions import LesionKind

SPACING_ZYX_MM = (4.0, 1.5, 1.5)
"""The grid of the cases, and of the model that is trained on them."""

TRAINING_SEED, HELD_OUT_SEED = 500_000, 1_000_000

_LATTICE_MM = 1.5  # equal to the grid's in-plane spacing, so that only z is resampled
_KINDS: tuple[LesionKind, ...] = ("iph", "ivh", "sah", "sdh", "edh")
_LESION_FREE = 0.25  # share of the heads
_TRIES = 20
_SAMPLES_PER_SLICE = 5
_LEAST_LABELLED = 0.25  # as the truth of a phantom study has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A head on the model's grid, (z, y, x), with its true labels; outside the scan `OUTSIDE_HU` and background."""

    seed: int
    hu_zyx: npt.NDArray[np.float16]
    labels_zyx: npt.NDArray[np.uint8]
    lesions: tuple[LesionRequest, ...]


def make_case(seed: int) -> Case:
    """Make the case of that seed."""
    random = np.random.default_rng((seed, 77))
    adult = _varied(draw_adult(seed), random)
    lattice = Lattice.spanning((-92.0, -118.0, LOWEST_MM), (92.0, 112.0, HIGHEST_MM), (_LATTICE_MM,) * 3)
    for _ in range(_TRIES):
        lesions = _draw_lesions(random)
        try:
            head = compose_head(lattice, adult, lesions)
        except PhantomInvalid:  # too much blood for one head: draw again
            continue
        return _scan(head, seed, random)
    raise PhantomInvalid(f"No lesions fit into the head of seed {seed}.")


def _varied(adult: Adult, random: np.random.Generator) -> Adult:
    """Spread pose and contrast: a tilted scan shows the head pitched, scanners differ by some HU."""
    return replace(
        adult,
        white_hu=float(random.uniform(25.5, 31)),
        grey_hu=float(random.uniform(34.5, 40.5)),
        csf_hu=float(random.uniform(4, 12)),
        venous_hu=float(random.uniform(42, 52)),
        subarachnoid_mm=float(random.uniform(1.1, 2.3)),
        sulcus_mm=float(random.uniform(0.7, 1.3)),
        ventricle_mm=float(random.uniform(-1.0, 2.0)),
        ventricle_left_mm=float(random.uniform(-1.0, 1.0)),
        choroid_hu=float(random.uniform(70, 250)),
        pineal_hu=float(random.uniform(70, 250)),
        pose=Pose.turned(
            yaw_deg=float(random.uniform(-8, 8)),
            roll_deg=float(random.uniform(-6, 6)),
            pitch_deg=float(random.uniform(-20, 20)),
            shift_lps_mm=(float(random.uniform(-5, 5)), float(random.uniform(-5, 5)), float(random.uniform(-2, 2))),
        ),
    )


def _draw_lesions(random: np.random.Generator) -> tuple[LesionRequest, ...]:
    if random.random() < _LESION_FREE:
        return ()
    kinds = random.choice(len(_KINDS), size=int(random.choice([1, 2, 3], p=[0.5, 0.35, 0.15])), replace=False)
    lesions = []
    for number in kinds:
        kind = _KINDS[int(number)]
        largest = 25.0 if kind in {"ivh", "sah"} else 60.0
        has_oedema = kind == "iph" and random.random() < 0.5
        lesions.append(
            LesionRequest(
                kind=kind,
                volume_ml=float(np.exp(random.uniform(math.log(1.5), math.log(largest)))),
                lobulated=bool(random.random() < 0.5),
                oedema_ml=float(random.uniform(3, 30)) if has_oedema else 0.0,
            )
        )
    return tuple(lesions)


def _scan(head: HeadPhantom, seed: int, random: np.random.Generator) -> Case:
    """Lay slices through the head, add noise, and interpolate onto the grid as the node does."""
    thickness_mm = float(random.choice([2.5, 4.0, 5.0, 5.0, 7.0]))
    lowest_mm = float(random.uniform(-85, -60))
    highest_mm = float(random.uniform(70, 94))
    slices_mm = np.arange(lowest_mm, highest_mm, thickness_mm)
    z_mm = head.lattice.axis_mm(0)
    depth_mm = thickness_mm * ((np.arange(_SAMPLES_PER_SLICE) + 0.5) / _SAMPLES_PER_SLICE - 0.5)
    onto_slices: npt.NDArray[np.float32] = np.stack(
        [_interpolation(slices_mm + depth, z_mm) for depth in depth_mm]
    ).mean(axis=0, dtype=np.float32)
    grid_mm = np.arange(slices_mm[0], slices_mm[-1], SPACING_ZYX_MM[0])
    onto_grid = _interpolation(grid_mm, slices_mm)

    hu = np.tensordot(onto_slices, head.hu_zyx + _contrast(head, random), axes=1)
    hu += random.standard_normal(hu.shape, dtype=np.float32) * np.float32(random.uniform(1.0, 4.5))
    hu += np.float32(random.uniform(-2, 2))
    hu = np.tensordot(onto_grid, hu, axes=1)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    for oedema in (True, False):
        for bleed in head.bleeds:
            share = bleed.oedema if oedema else bleed.share
            if share is None:
                continue
            onto_box = onto_grid @ onto_slices[:, bleed.box[0]]
            label = LABELS["oedema"] if oedema else LABELS[LABEL_OF_KIND[bleed.request.kind]]
            _label(labels[:, bleed.box[1], bleed.box[2]], np.tensordot(onto_box, share, axes=1), label)
    margin = int(random.integers(0, 4))  # the grid may reach beyond the scan
    return Case(
        seed=seed,
        hu_zyx=np.pad(hu.astype(np.float16), ((margin, margin), (0, 0), (0, 0)), constant_values=OUTSIDE_HU),
        labels_zyx=np.pad(labels, ((margin, margin), (0, 0), (0, 0))),
        lesions=tuple(bleed.request for bleed in head.bleeds),
    )


def _contrast(head: HeadPhantom, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a change of every bleed's density: anaemia and age make blood fainter."""
    change = np.zeros(head.lattice.shape_zyx, dtype=np.float32)
    for bleed in head.bleeds:
        change[bleed.box] += bleed.share * np.float32(random.uniform(-6, 8))
        if bleed.oedema is not None:
            change[bleed.box] += bleed.oedema * np.float32(random.uniform(-4, 2))
    return change


def _label(labels: npt.NDArray[np.uint8], share: npt.NDArray[np.float32], label: int) -> None:
    """Set `label` where the shares are greatest, in as many voxels as they add up to."""
    flat = share.ravel()
    count = round(float(flat.sum(dtype=np.float64)))
    if count == 0:
        return
    chosen = np.argpartition(-flat, min(count, flat.size - 1))[:count]
    mask = np.zeros(flat.size, dtype=bool)
    mask[chosen] = flat[chosen] >= _LEAST_LABELLED
    labels[mask.reshape(share.shape)] = label


def _interpolation(places: npt.NDArray[np.float64], nodes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the weights (places, nodes) of linear interpolation between equally spaced nodes, the ends held."""
    along = np.clip((places - nodes[0]) / (nodes[1] - nodes[0]), 0, len(nodes) - 1)
    weights: npt.NDArray[np.float32] = np.maximum(
        1 - np.abs(along[:, None] - np.arange(len(nodes))[None, :]), 0
    ).astype(np.float32)
    return weights
