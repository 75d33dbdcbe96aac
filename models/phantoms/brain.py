"""What fills the skull: CSF, folded cortex, white matter, deep nuclei, ventricles, cerebellum, falx and tentorium."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.phantoms.shapes import ellipsoid, inside, paint, tube

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.adult import Adult
    from models.phantoms.lattice import HeadSpace, Points
    from models.phantoms.skull import Cavity

_CORTEX_MM = 2.8
_SULCUS_DEPTH_MM = 20.0
_MEMBRANE_HU = 45.0

_LATERAL = (  # nodes of the left lateral ventricle: x, y, z, radius
    ((7, -36, 6, 2.5), (9, -24, 15, 5.0), (9, -8, 20, 5.0), (12, 12, 20, 5.5), (22, 30, 13, 6.5), (25, 52, 8, 2.5)),
    ((22, 30, 13, 6.0), (30, 22, -4, 3.5), (30, 6, -14, 2.5), (27, -8, -17, 1.5)),
)
_NUCLEI = (  # centre and semi-axes of the left ones: putamen and pallidum, caudate, thalamus
    ((26, -6, 2), (6, 17, 10)),
    ((15, -24, 10), (4, 10, 9)),
    ((10, 12, 6), (7, 13, 9)),
)
_CISTERNS = (  # folded onto the left
    ((0, -14, -26), (13, 9, 6)),  # suprasellar
    ((0, 32, -4), (12, 5, 7)),  # quadrigeminal
    ((0, 64, -60), (14, 9, 8)),  # magna
    ((0, -1, -40), (9, 4, 18)),  # prepontine
)
_AMBIENT = ((16, 4, -20, 2.2), (19, 18, -14, 2.0), (12, 30, -8, 2.2))
_SYLVIAN = (
    ((20, -14, -22, 2.0), (34, -16, -12, 3.0), (40, -10, -4, 3.0)),
    ((40, -10, -4, 2.0), (41, 10, 6, 2.0), (44, 24, 14, 1.5)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brain:
    """Signed distances in mm (negative inside) that lesions need, and the shares of the tissues."""

    depth_mm: npt.NDArray[np.float32]  # below the inner table, positive inside
    subarachnoid_mm: npt.NDArray[np.float32]  # to sulci and cisterns
    ventricle_mm: npt.NDArray[np.float32]
    supratentorial_mm: npt.NDArray[np.float32]  # negative above the tentorium
    tissue: npt.NDArray[np.float32]  # share of parenchyma
    cavity: npt.NDArray[np.float32]  # share inside the inner table


def paint_brain(
    canvas: npt.NDArray[np.float32],
    space: HeadSpace,
    adult: Adult,
    cavity: Cavity,
    *,
    folds: npt.NDArray[np.float32],
    texture: npt.NDArray[np.float32],
    ventricle_mm: npt.NDArray[np.float32],
) -> Brain:
    """Paint the inside of the skull; `folds` has its sulci where it is zero, scaled to millimetres."""
    soft = space.lattice.softness_mm
    points = space.points
    depth_mm = -cavity.wall_mm
    tentorium_mm = _tentorium_mm(points)
    hind = hind_mm(points)
    shell_mm = depth_mm - np.float32(adult.subarachnoid_mm) - np.float32(0.6) * np.clip(texture, -1.5, 1.5)
    sulcus_mm = _sulci_mm(points, folds, depth_mm, hind, adult.sulcus_mm)
    cistern_mm = _cisterns_mm(space)
    subarachnoid_mm = np.maximum(np.minimum(np.minimum(shell_mm, sulcus_mm), cistern_mm), -depth_mm)

    inner = inside(cavity.wall_mm, soft)
    paint(canvas, adult.csf_hu, inner)
    tissue = inside(-np.minimum(subarachnoid_mm, ventricle_mm), soft)
    tissue *= inner
    surface_mm = np.minimum(np.minimum(shell_mm, sulcus_mm), cistern_mm)
    white = inside(np.float32(_CORTEX_MM) + 0.5 * texture - surface_mm, 1.5 * soft)
    white[...] = np.where(hind < 0, _hind_white(points), white)
    matter = np.float32(adult.grey_hu) + np.float32(adult.white_hu - adult.grey_hu) * white
    _paint_nuclei(matter, space, adult, soft)
    matter += np.float32(0.6) * texture
    paint(canvas, matter, tissue)
    _paint_membranes(canvas, space, adult, depth_mm, tentorium_mm)
    _paint_calcifications(canvas, space, adult)
    return Brain(
        depth_mm=depth_mm,
        subarachnoid_mm=subarachnoid_mm,
        ventricle_mm=ventricle_mm,
        supratentorial_mm=-hind,
        tissue=tissue,
        cavity=inner,
    )


def hind_mm(points: Points) -> npt.NDArray[np.float32]:
    """Return how far a place lies from the posterior fossa, negative inside."""
    distance: npt.NDArray[np.float32] = np.maximum(
        _tentorium_mm(points), 9 + np.float32(0.2) * np.abs(points.x) - points.y
    )
    return distance


def _tentorium_mm(points: Points) -> npt.NDArray[np.float32]:
    """Return how far a place lies above the tentorium, which slopes down from the straight sinus."""
    across = np.abs(points.x)
    sheet = 5 - np.float32(0.30) * (points.y - 32) - np.float32(0.011) * across * across
    return points.z - sheet


def _sulci_mm(
    points: Points,
    folds: npt.NDArray[np.float32],
    depth_mm: npt.NDArray[np.float32],
    hind: npt.NDArray[np.float32],
    half_width_mm: float,
) -> npt.NDArray[np.float32]:
    """Return the distance to sulci and to the fissure between the hemispheres."""
    fade = np.clip(1 - depth_mm / np.float32(_SULCUS_DEPTH_MM), -3, 1)
    sulcus = np.abs(folds) - np.float32(half_width_mm) * np.minimum(fade, 1)
    sulcus += np.float32(6.0) * np.clip(-fade, 0, 1)
    core = np.sqrt(((points.y - 4) / 44) ** 2 + ((points.z - 2) / 27) ** 2)  # the hemispheres are joined inside
    fissure = np.maximum(np.abs(points.x) - np.float32(1.3), (1 - core) * 30)
    sulcus = np.minimum(sulcus, fissure)
    return np.where(hind < 3, np.maximum(np.float32(1.5) - np.abs(hind), np.abs(hind) - np.float32(1.2)), sulcus)


def _cisterns_mm(space: HeadSpace) -> npt.NDArray[np.float32]:
    cisterns = np.full(space.lattice.shape_zyx, np.float32(40))
    for centre, semi in _CISTERNS:
        low = (-semi[0] - 12, centre[1] - semi[1] - 12, centre[2] - semi[2] - 12)
        high = (semi[0] + 12, centre[1] + semi[1] + 12, centre[2] + semi[2] + 12)
        box = space.box(low, high)
        part = space.points.mirrored.within(box)
        cisterns[box] = np.minimum(cisterns[box], ellipsoid(part, centre, semi))
    box = space.box((-60, -40, -40), (60, 45, 30))
    part = space.points.mirrored.within(box)
    for nodes in (_AMBIENT, *_SYLVIAN):
        cisterns[box] = np.minimum(cisterns[box], tube(part, nodes))
    # the Sylvian fissure opens outwards as a sheet
    sheet = np.abs(part.z - (np.float32(-2) + np.float32(0.45) * part.y)) - np.float32(1.3)
    outer = np.maximum(38 - part.x, np.maximum(-22 - part.y, part.y - 26))
    cisterns[box] = np.minimum(cisterns[box], np.maximum(sheet, outer))
    return cisterns


def shape_ventricles(space: HeadSpace, adult: Adult) -> npt.NDArray[np.float32]:
    """Return the distance to lateral, third and fourth ventricles, foramina and aqueduct."""
    ventricles = np.full(space.lattice.shape_zyx, np.float32(40))
    box = space.box((-55, -60, -40), (55, 75, 45))
    part = space.points.within(box)
    folded = part.mirrored
    lateral = np.minimum(tube(folded, _LATERAL[0]), tube(folded, _LATERAL[1]))
    lateral -= np.where(part.x > 0, np.float32(adult.ventricle_left_mm), np.float32(0)) + np.float32(adult.ventricle_mm)
    third = ellipsoid(folded, (0, 4, -2), (2.2, 14, 10))
    foramen = tube(folded, ((0, -10, 3, 1.2), (9, -16, 12, 1.5)))
    ventricles[box] = np.minimum(np.minimum(lateral, foramen), third)
    box = space.box((-25, 5, -70), (25, 70, 10))
    part = space.points.within(box)
    fourth = np.minimum(
        ellipsoid(part, (0, 40, -38), (7, 5, 9)), tube(part, ((0, 20, -8, 1.0), (0, 33, -26, 1.2), (0, 40, -38, 2)))
    )
    ventricles[box] = np.minimum(ventricles[box], fourth)
    return ventricles


def _hind_white(points: Points) -> npt.NDArray[np.float32]:
    """Return the share of white matter in brain stem and cerebellum."""
    across = np.abs(points.x)
    core = ((across - 22) / 15) ** 2 + ((points.y - 52) / 13) ** 2 + ((points.z + 36) / 9) ** 2
    stem = (across / 13) ** 2 + ((points.y - 16) / 13) ** 2
    return np.clip(1.4 - np.minimum(core, stem), 0.25, 0.8).astype(np.float32)


def _paint_nuclei(matter: npt.NDArray[np.float32], space: HeadSpace, adult: Adult, soft: float) -> None:
    box = space.box((-45, -50, -25), (45, 40, 35))
    part = space.points.mirrored.within(box)
    for centre, semi in _NUCLEI:
        paint(matter[box], adult.grey_hu, inside(ellipsoid(part, centre, semi), 2 * soft))


def _paint_membranes(
    canvas: npt.NDArray[np.float32],
    space: HeadSpace,
    adult: Adult,
    depth_mm: npt.NDArray[np.float32],
    tentorium_mm: npt.NDArray[np.float32],
) -> None:
    """Paint falx, tentorium and the venous sinuses along the inner table."""
    soft = space.lattice.softness_mm
    box = space.box((-12, -100, -40), (12, 100, 90))
    part, deep = space.points.within(box), depth_mm[box]
    margin = (np.sqrt(((part.y - 6) / 50) ** 2 + ((part.z - 0) / 34) ** 2) - 1) * 35  # free below the falx's edge
    falx = np.maximum(np.abs(part.x) - np.float32(0.5), np.maximum(-margin, -tentorium_mm[box] * (part.y > 0)))
    falx = np.maximum(falx, -deep)
    paint(canvas[box], _MEMBRANE_HU, inside(falx, soft))
    sagittal = np.maximum(np.abs(part.x) + np.float32(0.6) * deep - np.float32(4.2), -deep)
    sagittal = np.maximum(sagittal, np.maximum(-60 - part.z, -np.maximum(part.z - 15, part.y - 40)))
    paint(canvas[box], adult.venous_hu, inside(sagittal, soft))

    box = space.box((-80, 0, -60), (80, 100, 20))
    part, deep = space.points.mirrored.within(box), depth_mm[box]
    notch = np.sqrt((part.x / 17) ** 2 + ((part.y - 14) / 26) ** 2)  # the brain stem passes here
    sheet = np.maximum(np.abs(tentorium_mm[box]) - np.float32(0.5), (1 - notch) * 15)
    sheet = np.maximum(np.maximum(sheet, 16 + 0.3 * part.x - part.y), -deep)
    paint(canvas[box], _MEMBRANE_HU, inside(sheet, soft))
    transverse = np.maximum(np.sqrt(tentorium_mm[box] ** 2 + (deep - 1.5) ** 2) - np.float32(3.2), -deep)
    transverse = np.maximum(transverse, 35 - part.y)
    paint(canvas[box], adult.venous_hu, inside(transverse, soft))


def _paint_calcifications(canvas: npt.NDArray[np.float32], space: HeadSpace, adult: Adult) -> None:
    """Paint what looks like blood and is not: pineal gland, choroid plexus, at times the falx."""
    soft = space.lattice.softness_mm
    spots = [
        ((0.0, 26.0, 3.0), (2.2, 2.6, 2.2), adult.pineal_hu),
        ((22.0, 31.0, 12.0), (2.6, 4.0, 3.0), adult.choroid_hu),
        ((-21.5, 30.0, 12.0), (2.2, 3.2, 2.6), adult.choroid_hu),
    ]
    if adult.falx_calcified:
        spots.append(((0.0, -40.0, 48.0), (1.2, 6.0, 4.0), 300.0))
    for centre, semi, hu in spots:
        low = (centre[0] - semi[0] - 3, centre[1] - semi[1] - 3, centre[2] - semi[2] - 3)
        high = (centre[0] + semi[0] + 3, centre[1] + semi[1] + 3, centre[2] + semi[2] + 3)
        box = space.box(low, high)
        paint(canvas[box], hu, inside(ellipsoid(space.points.within(box), centre, semi), soft))
