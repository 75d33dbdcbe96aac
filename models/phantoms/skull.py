"""Everything round the brain: inner and outer table, diploe, base, orbits, sinuses, scalp, face and neck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.phantoms.shapes import both, ellipsoid, inside, paint, tube

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.adult import Adult
    from models.phantoms.lattice import HeadSpace, Points

AIR_HU = -1000.0
_FAT_HU, _MUSCLE_HU, _SKIN_HU = -90.0, 48.0, 40.0
_EYE_HU, _MUCOSA_HU, _THIN_BONE_HU = 12.0, 45.0, 550.0
CAVITY_CENTRE_MM = (0.0, 4.0, 8.0)  # x, y, z
CAVITY_TOP_MM = 77.0  # of a usual adult

_SINUSES = (  # centre, semi-axes, folded onto the left
    ((26.0, -58.0, -64.0), (12.0, 14.0, 15.0)),  # maxillary
    ((6.0, -60.0, -42.0), (5.0, 18.0, 9.0)),  # ethmoid
    ((7.0, -22.0, -44.0), (6.0, 9.0, 7.0)),  # sphenoid
    ((5.0, -64.0, -66.0), (4.0, 24.0, 16.0)),  # nasal passage
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cavity:
    """The space inside the skull, as signed distances in mm (negative inside)."""

    vault_mm: npt.NDArray[np.float32]  # to the dome, as if it went on downwards
    wall_mm: npt.NDArray[np.float32]  # to dome and base together: the inner table


def shape_cavity(space: HeadSpace, adult: Adult) -> Cavity:
    """Work out the inner table: a dome, narrower in front, on a base of three fossae with the foramen magnum."""
    points = space.points
    half_width = np.float32(adult.cavity_half_width_mm) * (
        1 + np.float32(adult.narrowing) * np.clip(points.y / np.float32(65), -1, 1)
    )
    x, y, z = points.x, points.y - np.float32(CAVITY_CENTRE_MM[1]), points.z - np.float32(CAVITY_CENTRE_MM[2])
    length = np.float32(adult.cavity_half_length_mm)
    height = np.float32(adult.cavity_height_mm) * np.where(z > 0, np.float32(1), np.float32(1.2))
    ux, uy, uz = x / half_width, y / length, z / height
    radius = np.sqrt(ux * ux + uy * uy + uz * uz)
    slope = np.sqrt((ux / half_width) ** 2 + (uy / length) ** 2 + (uz / height) ** 2)
    vault_mm = (radius - 1) * radius / np.maximum(slope, np.float32(1e-6))
    wall_mm = both(vault_mm, (_floor_mm(points) - points.z) * np.float32(0.8), 5.0)
    box = space.box((-16, 15, -160), (16, 55, -40))
    canal = tube(points.within(box), ((0, 36, -58, 15), (0, 35, -72, 14), (0, 33, -84, 11), (0, 30, -160, 10)))
    wall_mm[box] = np.minimum(wall_mm[box], canal)
    return Cavity(vault_mm=vault_mm, wall_mm=wall_mm)


def _floor_mm(points: Points) -> npt.NDArray[np.float32]:
    """Return the height of the base: anterior, middle and posterior fossa, sella and petrous ridges."""
    across, y = np.abs(points.x), points.y
    front = _rise(-30.0 - y, 4.0)
    back = _rise(y - np.float32(10.0) - np.float32(0.28) * (across - 15), 5.0)
    anterior = np.float32(-27.0) + 9 * _bell(across - 30, 20.0)
    middle = np.float32(-46.0) + 18 * _bell(across, 14.0)
    posterior = np.float32(-68.0) + 26 * ((across / 60) ** 2 + ((y - 42) / 52) ** 2)
    ridge = 15 * _bell(y - np.float32(10.0) - np.float32(0.28) * (across - 15), 7.0) * _rise(across - 14, 3.0)
    floor: npt.NDArray[np.float32] = front * anterior + back * posterior + (1 - front - back) * middle + ridge
    return floor


def paint_skull(
    canvas: npt.NDArray[np.float32],
    space: HeadSpace,
    adult: Adult,
    cavity: Cavity,
    texture: npt.NDArray[np.float32],
) -> None:
    """Paint head and bone on a canvas of air; the cavity is left for the brain."""
    points, soft = space.points, space.lattice.softness_mm
    skull_mm = np.float32(adult.skull_mm) * (1 + np.float32(0.10) * texture)
    temple = _bell(points.y + 5, 30.0) * _rise(35.0 - points.z, 8.0) * _rise(np.abs(points.x) - 40, 5.0)
    skull_mm *= 1 - np.float32(0.4) * temple
    skin_mm = np.minimum(_skin_mm(space, adult), cavity.vault_mm - skull_mm - np.float32(3.0))
    _paint_soft_tissue(canvas, skin_mm, texture, soft)
    _paint_face(canvas, space, soft)
    base_mm = 7 + 3 * texture
    thickness = np.where(points.z > -20, skull_mm, np.maximum(skull_mm, base_mm))
    deep = cavity.wall_mm - thickness  # to the outer table
    bone = inside(np.maximum(deep, skin_mm + 2), soft)
    paint(canvas, adult.table_hu, bone)
    marrow = inside(np.maximum(deep + 2, 2 - cavity.wall_mm), soft)
    paint(canvas, adult.diploe_hu + 90 * texture, marrow)
    _paint_air_cells(canvas, space, cavity, texture)


def _skin_mm(space: HeadSpace, adult: Adult) -> npt.NDArray[np.float32]:
    """Return the distance to the skin: a dome over a tapering face and neck, with nose and ears."""
    points = space.points
    margin = adult.skull_mm + adult.scalp_mm
    x = points.x / np.float32(adult.cavity_half_width_mm + margin)
    y = (points.y - np.float32(CAVITY_CENTRE_MM[1])) / np.float32(adult.cavity_half_length_mm + margin)
    z = points.z - np.float32(CAVITY_CENTRE_MM[2])
    z = z / np.where(z > 0, np.float32(adult.cavity_height_mm + margin), np.float32(220.0))
    radius = np.sqrt(x * x + y * y + z * z)
    skin_mm: npt.NDArray[np.float32] = (radius - 1) * np.float32(adult.cavity_half_width_mm + margin + 6)
    nape = (points.y - np.float32(78.0) - np.float32(0.55) * (points.z + 50)) * np.float32(0.87)
    skin_mm = both(skin_mm, np.where(points.z < 20, nape, np.float32(-50)), 8.0)
    for side in (-1, 1):
        box = space.box((side * 79 - 10, -2, -70), (side * 79 + 10, 45, 0))
        ear = ellipsoid(points.within(box), (side * 79, 22, -36), (5, 14, 26))
        skin_mm[box] = np.minimum(skin_mm[box], ear)
    box = space.box((-16, -125, -80), (16, -80, -20))
    nose = tube(points.within(box), ((0, -90, -32, 7), (0, -99, -60, 12)))
    skin_mm[box] = np.minimum(skin_mm[box], nose)
    return skin_mm


def _paint_soft_tissue(
    canvas: npt.NDArray[np.float32], skin_mm: npt.NDArray[np.float32], texture: npt.NDArray[np.float32], soft: float
) -> None:
    paint(canvas, _SKIN_HU, inside(skin_mm, soft))
    paint(canvas, _FAT_HU, inside(skin_mm + 2, soft))
    paint(canvas, _MUSCLE_HU, inside(np.maximum(skin_mm + 5, 2 * texture - 3), soft))


def _paint_face(canvas: npt.NDArray[np.float32], space: HeadSpace, soft: float) -> None:
    """Paint orbits and sinuses."""
    folded = space.points.mirrored
    box = space.box((-52, -100, -60), (52, -25, -8))
    part, view = folded.within(box), canvas[box]
    orbit = np.minimum(
        ellipsoid(part, (31, -66, -34), (19, 20, 17)), tube(part, ((29, -62, -34, 15), (18, -30, -34, 4)))
    )
    paint(view, _THIN_BONE_HU, inside(np.maximum(orbit - 2, -85 - part.y), soft))
    paint(view, _FAT_HU, inside(orbit, soft))
    for nodes in (((36, -60, -34, 2.5), (20, -32, -34, 2)), ((26, -60, -34, 2.5), (17, -32, -34, 2))):
        paint(view, _MUSCLE_HU, inside(tube(part, nodes), soft))
    paint(view, 35.0, inside(tube(part, ((31, -62, -34, 2.2), (18, -32, -33, 2.2))), soft))  # optic nerve
    paint(view, 45.0, inside(ellipsoid(part, (31, -74, -34), (12.2, 12.2, 12.2)), soft))
    paint(view, _EYE_HU, inside(ellipsoid(part, (31, -74, -34), (11, 11, 11)), soft))
    paint(view, 75.0, inside(ellipsoid(part, (31, -83, -34), (4.5, 2, 4.5)), soft))  # lens
    box = space.box((-42, -92, -86), (42, -10, -28))
    part, view = folded.within(box), canvas[box]
    for centre, semi in _SINUSES:
        sinus = ellipsoid(part, centre, semi)
        paint(view, _THIN_BONE_HU, inside(sinus - 2, soft))
        paint(view, _MUCOSA_HU, inside(sinus, soft))
        paint(view, AIR_HU, inside(sinus + 1, soft))


def _paint_air_cells(
    canvas: npt.NDArray[np.float32], space: HeadSpace, cavity: Cavity, texture: npt.NDArray[np.float32]
) -> None:
    """Paint the mastoids and a frontal sinus, a left one only: a mirrored head can be told apart."""
    soft = space.lattice.softness_mm
    folded = space.points.mirrored
    box = space.box((-72, 5, -75), (72, 50, -25))
    part = folded.within(box)
    mastoid = ellipsoid(part, (56, 26, -48), (14, 15, 18))
    outside = 3 - cavity.wall_mm[box]
    paint(canvas[box], 900.0, inside(np.maximum(mastoid, outside), soft))
    paint(canvas[box], -600.0, inside(np.maximum(np.maximum(mastoid + 3, outside), 2 - 3 * texture[box]), soft))
    box = space.box((-5, -100, -30), (30, -70, 10))
    part = space.points.within(box)
    frontal = np.maximum(ellipsoid(part, (11, -83, -12), (13, 6, 13)), 2 - cavity.wall_mm[box])
    paint(canvas[box], 1000.0, inside(frontal - 2, soft))
    paint(canvas[box], AIR_HU, inside(frontal, soft))


def _rise(value: npt.NDArray[np.floating[Any]], over: float) -> npt.NDArray[np.float32]:
    """Return 0 far below zero, 1 far above, with a smooth passage of a few times `over`."""
    step: npt.NDArray[np.float32] = np.float32(0.5) + np.float32(0.5) * np.tanh(value / np.float32(2 * over))
    return step


def _bell(value: npt.NDArray[np.floating[Any]], width: float) -> npt.NDArray[np.float32]:
    """Return 1 at zero, falling off like a Gaussian of that width."""
    bell: npt.NDArray[np.float32] = np.exp(-((value / np.float32(width)) ** 2))
    return bell
