"""Bleeds as families of shapes that grow with one number, fitted to the volume that was asked for.

An intraparenchymal bleed is an ellipsoid or a cluster of blobs in the white matter; a subdural one a crescent, an
epidural one a lens under the inner table; subarachnoid blood fills sulci and cisterns round the Sylvian fissure,
intraventricular blood the ventricles from the back, where it settles in a patient who lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.phantoms.adult import STREAM_LESION
from models.phantoms.lesions import LesionRequest, PhantomInvalid
from models.phantoms.shapes import ellipsoid, inside

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from models.phantoms.adult import Adult
    from models.phantoms.brain import Brain
    from models.phantoms.lattice import Box, HeadSpace, Point, Points
    from models.phantoms.lesions import LesionKind

TOLERANCE = 0.005
"""How near the fitted volume must come to the one asked for, as a share of it."""

_MEAN_HU: dict[LesionKind, float] = {"iph": 66.0, "ivh": 63.0, "sah": 60.0, "sdh": 63.0, "edh": 65.0}
_BISECTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Bleed:
    """One lesion on the lattice: the share of every node in `box` that it takes, and how dense it is."""

    request: LesionRequest
    left: bool
    box: Box
    share: npt.NDArray[np.float32]
    oedema: npt.NDArray[np.float32] | None
    mean_hu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """Where a bleed may grow: a part of the lattice, how far each node lies from its seed, and what is free there."""

    box: Box
    distance_mm: npt.NDArray[np.float32]  # the bleed is where this is below a level
    free: npt.NDArray[np.float32]  # share of each node that it may take
    nearest_mm: float
    farthest_mm: float


def grow_bleed(
    request: LesionRequest,
    number: int,
    *,
    space: HeadSpace,
    adult: Adult,
    brain: Brain,
    taken: npt.NDArray[np.float32],
    texture: npt.NDArray[np.float32],
) -> Bleed:
    """Make lesion `number` of the plan where `taken` leaves room; raise PhantomInvalid where there is too little."""
    random = np.random.default_rng(adult.key(STREAM_LESION, number))
    left = bool(random.random() < 0.5) if request.side is None else request.side == "left"
    room = _ROOMS[request.kind](request, 1 if left else -1, space, brain, texture, random)
    free = room.free * (1 - taken[room.box])
    soft, voxel_ml = space.lattice.softness_mm, space.lattice.voxel_ml
    what = f"{request.kind}:{request.volume_ml:g}"
    level = _fit(room.distance_mm, free, request.volume_ml / voxel_ml, soft, room, what)
    share = inside(room.distance_mm - np.float32(level), soft) * free
    oedema = None
    if request.oedema_ml > 0:
        free = np.maximum(np.minimum(brain.tissue[room.box] - taken[room.box], 1) - share, 0)
        free *= brain.supratentorial_mm[room.box] < 0
        level = _fit(room.distance_mm, free, request.oedema_ml / voxel_ml, soft, room, f"{what}:oedema")
        oedema = inside(room.distance_mm - np.float32(level), soft) * free
    return Bleed(
        request=request,
        left=left,
        box=room.box,
        share=share,
        oedema=oedema,
        mean_hu=_MEAN_HU[request.kind] + float(random.uniform(-3, 3)),
    )


def ventricle_growth_mm(
    requests: tuple[LesionRequest, ...], ventricle_mm: npt.NDArray[np.float32], voxel_ml: float
) -> float:
    """Return by how much the ventricles must widen so that the blood asked for fills at most three fifths of them."""
    wanted_ml = sum(request.volume_ml for request in requests if request.kind == "ivh") / 0.6
    near = ventricle_mm[ventricle_mm < 20]
    for growth_mm in np.arange(0.0, 16.0, 0.5):
        if (near < growth_mm).sum() * voxel_ml >= wanted_ml:
            return float(growth_mm)
    raise PhantomInvalid(f"The ventricles cannot hold {wanted_ml * 0.6:.0f} mL of blood.")


def _fit(
    distance_mm: npt.NDArray[np.float32],
    free: npt.NDArray[np.float32],
    target: float,
    soft: float,
    room: _Room,
    what: str,
) -> float:
    """Find the level at which as many nodes are taken as `target` says, by bisection."""
    open_to_it = free > 0
    distance, weight = distance_mm[open_to_it], free[open_to_it]

    def taken(level: float) -> float:
        return float((inside(distance - np.float32(level), soft) * weight).sum(dtype=np.float64))

    low, high = room.nearest_mm, room.farthest_mm
    if taken(high) < target:
        raise PhantomInvalid(f"{what} does not fit: there is room for {taken(high) / target:.0%} of it.")
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if taken(middle) < target:
            low = middle
        else:
            high = middle
        if abs(taken(middle) - target) < TOLERANCE / 5 * target:
            return middle
    return (low + high) / 2


def _radius_mm(volume_ml: float) -> float:
    """Return the radius of a ball of that volume."""
    return float((3000 * volume_ml / (4 * np.pi)) ** (1 / 3))


def _around(space: HeadSpace, centre: Point, reach_mm: float) -> Box:
    return space.box(
        (centre[0] - reach_mm, centre[1] - reach_mm, centre[2] - reach_mm),
        (centre[0] + reach_mm, centre[1] + reach_mm, centre[2] + reach_mm),
    )


def _iph_room(
    request: LesionRequest,
    sign: int,
    space: HeadSpace,
    brain: Brain,
    texture: npt.NDArray[np.float32],
    random: np.random.Generator,
) -> _Room:
    radius = _radius_mm(request.volume_ml)
    jitter = random.uniform(-1, 1, 3)
    sites = ((33.0, -2.0, 12.0), (32.0, 28.0, 34.0), (28.0, -40.0, 22.0))
    site = sites[int(random.integers(len(sites)))]
    centre = (sign * (site[0] + 2 * jitter[0]), site[1] + 4 * jitter[1], site[2] + 4 * jitter[2])
    outer = _radius_mm(request.volume_ml + request.oedema_ml)
    box = _around(space, centre, 1.6 * outer + 14)
    part = space.points.within(box)
    if request.lobulated:
        distance = _cluster(part, centre, radius, random)
    else:
        a, b = float(random.uniform(0.85, 1.0)), float(random.uniform(1.0, 1.25))
        distance = ellipsoid(part, centre, (radius * a, radius * b, radius / (a * b)))
    distance += np.float32(0.04 * radius) * texture[box]
    free = inside(4 - brain.depth_mm[box], 2.0) * inside(-brain.ventricle_mm[box], space.lattice.softness_mm)
    free *= inside(brain.supratentorial_mm[box] + 2, 2.0)
    free *= inside(3 - part.x * sign, 2.0)  # the falx is not crossed
    return _Room(box=box, distance_mm=distance, free=free, nearest_mm=-radius, farthest_mm=0.6 * outer + 12)


def _cluster(part: Points, centre: Point, radius_mm: float, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the distance to a ball with four smaller ones round it, their seams slightly filled."""
    distance = np.float32(0) * part.x
    blobs = [(np.zeros(3), 0.68 * radius_mm)]
    for turn in range(4):
        angle = np.pi / 2 * turn + random.uniform(-0.5, 0.5)
        rise = random.uniform(-0.6, 0.6)
        offset = np.array([np.cos(angle), np.sin(angle), rise]) * random.uniform(0.62, 0.8) * radius_mm
        blobs.append((offset, float(random.uniform(0.42, 0.56)) * radius_mm))
    rounding = np.float32(0.10 * radius_mm)
    for offset, size in blobs:
        x, y, z = (
            along - np.float32(middle + shift)
            for along, middle, shift in zip((part.x, part.y, part.z), centre, offset, strict=True)
        )
        distance += np.exp(-(np.sqrt(x * x + y * y + z * z) - np.float32(size)) / rounding)
    cluster: npt.NDArray[np.float32] = -rounding * np.log(np.maximum(distance, np.float32(1e-20)))
    return cluster


def _ivh_room(
    request: LesionRequest,
    sign: int,
    space: HeadSpace,
    brain: Brain,
    texture: npt.NDArray[np.float32],
    random: np.random.Generator,
) -> _Room:
    del request, random
    box = space.box((-60, -65, -55), (60, 80, 50))
    part = space.points.within(box)
    # fills from the back, its own side 45 mm ahead of the other
    distance = 70 - part.y + np.where(part.x * sign > 0, np.float32(0), np.float32(45)) + 2 * texture[box]
    free = inside(brain.ventricle_mm[box], space.lattice.softness_mm) * brain.cavity[box]
    return _Room(box=box, distance_mm=distance, free=free, nearest_mm=-20, farthest_mm=220)


def _sah_room(
    request: LesionRequest,
    sign: int,
    space: HeadSpace,
    brain: Brain,
    texture: npt.NDArray[np.float32],
    random: np.random.Generator,
) -> _Room:
    del request
    box = space.box((-78, -85, -50), (78, 90, 80))
    part = space.points.within(box)
    centre = (sign * 40.0, float(random.uniform(-12, 4)), float(random.uniform(-6, 2)))
    distance = ellipsoid(part, centre, (18, 14, 14)) + 4 * texture[box]
    distance += np.where(part.x * sign > 2, np.float32(0), np.float32(60))
    # blood widens the sulci that it fills
    free = inside(brain.subarachnoid_mm[box] - np.float32(0.6), space.lattice.softness_mm)
    free *= inside(np.float32(1.0) - brain.depth_mm[box], space.lattice.softness_mm)
    free *= inside(np.float32(1.0) - brain.ventricle_mm[box], space.lattice.softness_mm)
    free *= brain.supratentorial_mm[box] < 2
    return _Room(box=box, distance_mm=distance, free=free, nearest_mm=-20, farthest_mm=160)


def _sdh_room(
    request: LesionRequest,
    sign: int,
    space: HeadSpace,
    brain: Brain,
    texture: npt.NDArray[np.float32],
    random: np.random.Generator,
) -> _Room:
    box = space.box((sign * 40 - 42, -90, -45), (sign * 40 + 42, 95, 85))
    part = space.points.within(box)
    towards = np.array([sign * 0.92, random.uniform(-0.2, 0.25), random.uniform(0.25, 0.45)])
    towards /= np.linalg.norm(towards)
    x, y, z = part.x, (part.y - 5) * np.float32(0.85), part.z - 12
    cosine = (x * towards[0] + y * towards[1] + z * towards[2]).astype(np.float32)
    cosine /= np.maximum(np.sqrt(x * x + y * y + z * z), np.float32(1))
    edge = np.cos(np.radians(min(11.0 * request.volume_ml**0.37, 55.0)))
    crescent = np.clip((cosine - np.float32(edge)) / np.float32(1 - edge), 0, 1) ** np.float32(0.6)
    if request.lobulated:
        crescent *= 1 + np.float32(0.25) * np.clip(texture[box], -2, 2)
    # depth below the inner table, scaled so that one level gives a crescent: thick in the middle, tapering out
    distance = brain.depth_mm[box] / np.maximum(crescent, np.float32(0.02))
    free = brain.cavity[box] * (crescent > np.float32(0.02))
    free *= inside(3 - part.x * sign, space.lattice.softness_mm)
    free *= inside(brain.supratentorial_mm[box] + 1.5, space.lattice.softness_mm)
    return _Room(box=box, distance_mm=distance, free=free, nearest_mm=-1, farthest_mm=32)


def _edh_room(
    request: LesionRequest,
    sign: int,
    space: HeadSpace,
    brain: Brain,
    texture: npt.NDArray[np.float32],
    random: np.random.Generator,
) -> _Room:
    towards = np.array([sign * 0.95, random.uniform(-0.35, 0.25), random.uniform(0.1, 0.4)])
    towards /= np.linalg.norm(towards)
    half_width = (request.volume_ml * 1000 / 0.9) ** (1 / 3)
    table = _inner_table(space, brain, towards)
    box = _around(space, (table[0], table[1], table[2]), 1.9 * half_width + 12)
    part = space.points.within(box)
    offsets = [along - np.float32(middle) for along, middle in zip((part.x, part.y, part.z), table, strict=True)]
    normal = (offsets[0] * towards[0] + offsets[1] * towards[1] + offsets[2] * towards[2]).astype(np.float32)
    square = offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2
    tangential = np.sqrt(np.maximum(square - normal * normal, 0))
    # a lens: flattened along the normal, convex on both sides since the table is
    lens = np.sqrt(tangential**2 + (normal / np.float32(0.5)) ** 2) - np.float32(half_width)
    lens *= np.float32(0.7)
    if request.lobulated:
        lens += np.float32(0.06 * half_width) * texture[box]
    free = brain.cavity[box] * inside(brain.supratentorial_mm[box] + 1.5, space.lattice.softness_mm)
    return _Room(box=box, distance_mm=lens, free=free, nearest_mm=-half_width, farthest_mm=0.6 * half_width + 10)


def _inner_table(space: HeadSpace, brain: Brain, towards: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return where a ray from the middle of the head, along `towards`, meets the inner table."""
    box = _around(space, (0.0, 5.0, 10.0), 100.0)
    part, deep = space.points.within(box), brain.depth_mm[box]
    x, y, z = part.x, part.y - 5, part.z - 10
    along = (x * towards[0] + y * towards[1] + z * towards[2]).astype(np.float32)
    near = (x * x + y * y + z * z - along * along < 9) & (deep > 0)
    reach = float(along[near].max()) if near.any() else 0.0
    meeting: npt.NDArray[np.float64] = np.array([0.0, 5.0, 10.0]) + reach * towards
    return meeting


_ROOMS: dict[LesionKind, Callable[..., _Room]] = {
    "iph": _iph_room,
    "ivh": _ivh_room,
    "sah": _sah_room,
    "sdh": _sdh_room,
    "edh": _edh_room,
}
