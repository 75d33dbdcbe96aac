"""The mirror image of a head: found in the scan, for heads that are turned, tipped, off the middle and bleed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from models.phantoms.adult import draw_adult
from models.phantoms.head import compose_head
from models.phantoms.lattice import Lattice, Pose
from models.phantoms.lesions import LesionRequest
from models.segmenter import OUTSIDE_HU, HeadGrid
from models.symmetry import MidPlane

SPACING = (5.0, 3.0, 3.0)
LATTICE = Lattice.spanning((-112.0, -128.0, -92.0), (112.0, 122.0, 96.0), SPACING)


def phantom(pose: Pose, *lesions: LesionRequest) -> HeadGrid:
    """Lay a head into the scanner in a pose, with noise."""
    hu = compose_head(LATTICE, replace(draw_adult(5), pose=pose), lesions).hu_zyx
    hu = hu + np.random.default_rng(1).normal(0, 4, hu.shape).astype(np.float32)
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=SPACING, scanned_zyx=np.ones(hu.shape, dtype=np.bool_))


def error_of(plane: MidPlane, pose: Pose) -> tuple[float, float]:
    """Return how far a plane is off the phantom's own: degrees, and mm at the head's origin."""
    normal = np.array(plane.normal_zyx)
    turned_deg = math.degrees(math.acos(min(1.0, float(normal @ pose.rotation[::-1, 0]))))
    origin_mm = np.array(pose.shift_lps_mm)[::-1] - np.array(LATTICE.first_zyx_mm)
    return turned_deg, float(normal @ origin_mm) - plane.offset_mm


@pytest.mark.parametrize(
    ("yaw_deg", "roll_deg", "pitch_deg", "shift_mm", "lesion"),
    [
        (0.0, 0.0, 0.0, (0.0, 0.0, 0.0), LesionRequest(kind="sdh", volume_ml=100)),
        (20.0, -10.0, 15.0, (14.0, 5.0, 0.0), LesionRequest(kind="iph", volume_ml=60)),
        (-25.0, 12.0, -20.0, (-12.0, 0.0, 3.0), LesionRequest(kind="edh", volume_ml=80)),
    ],
)
def test_the_plane_is_found_in_any_pose(
    yaw_deg: float, roll_deg: float, pitch_deg: float, shift_mm: tuple[float, float, float], lesion: LesionRequest
) -> None:
    """Within half a degree and half a millimetre, with a large bleed on one side."""
    pose = Pose.turned(yaw_deg=yaw_deg, roll_deg=roll_deg, pitch_deg=pitch_deg, shift_lps_mm=shift_mm)
    turned_deg, beyond_mm = error_of(MidPlane.of(phantom(pose, lesion)), pose)
    assert turned_deg < 0.5
    assert abs(beyond_mm) < 0.5


def test_a_part_of_a_head_is_halved_too() -> None:
    """The upper half of a turned, tipped head, under a gantry that left a wedge of it unscanned."""
    pose = Pose.turned(yaw_deg=10, roll_deg=-6, pitch_deg=8, shift_lps_mm=(6.0, 0.0, 0.0))
    whole = phantom(pose)
    y = np.arange(whole.hu_zyx.shape[1])
    scanned = np.arange(whole.hu_zyx.shape[0])[:, None, None] > 15 + 0.06 * (y[None, :, None] - y.mean())
    scanned = np.broadcast_to(scanned, whole.hu_zyx.shape)
    part = replace(whole, hu_zyx=np.where(scanned, whole.hu_zyx, np.float32(OUTSIDE_HU)), scanned_zyx=scanned)
    turned_deg, beyond_mm = error_of(MidPlane.of(part), pose)
    assert turned_deg < 3
    assert abs(beyond_mm) < 2


def test_bleed_and_counterpart_lie_on_each_other() -> None:
    """In a turned, tipped and shifted head brain lies on brain: exchanging columns would lay it on bone and air."""
    pose = Pose.turned(yaw_deg=15, roll_deg=8, pitch_deg=0, shift_lps_mm=(10.0, 0.0, 0.0))
    grid = phantom(pose)
    opposite = MidPlane.of(grid).mirrored(grid.hu_zyx, SPACING, (slice(None), slice(None), slice(None)))
    middle = slice(16, 25)
    brain = (grid.hu_zyx[middle] > 15) & (grid.hu_zyx[middle] < 55)

    def far_off(other: np.ndarray) -> float:
        return float(np.mean(np.abs(other[middle] - grid.hu_zyx[middle])[brain] > 25))

    assert far_off(opposite) < 0.06
    assert far_off(grid.hu_zyx[..., ::-1]) > 0.15


def test_a_box_is_a_part_of_the_whole() -> None:
    """What is cut for a patch equals the same place of the whole mirror image; beyond the grid lies air."""
    grid = phantom(Pose.turned(yaw_deg=9, roll_deg=5, pitch_deg=0, shift_lps_mm=(20.0, 0.0, 0.0)))
    plane = MidPlane.of(grid)
    whole = plane.mirrored(grid.hu_zyx, SPACING, (slice(None), slice(None), slice(None)))
    box = (slice(5, 21), slice(20, 62), slice(50, 92))  # reaches past the end, as a patch of a small head does
    np.testing.assert_allclose(plane.mirrored(grid.hu_zyx.astype(np.float32), SPACING, box), whole[box], atol=0.01)
    assert (whole[16:22, 40, -1] != OUTSIDE_HU).all()
    assert (whole[16:22, 40, 0] == OUTSIDE_HU).all()  # the head lies left of the middle: its counterpart is not there


def test_an_upright_head_is_mirrored_to_the_voxel() -> None:
    """On a plane between two columns every voxel gets its counterpart's HU unchanged, the outermost too."""
    hu = np.random.default_rng(2).normal(30, 20, (5, 6, 8)).astype(np.float32)
    plane = MidPlane(normal_zyx=(0.0, 0.0, 1.0), offset_mm=3.5 * SPACING[2])
    mirrored = plane.mirrored(hu, SPACING, (slice(None), slice(None), slice(None)))
    np.testing.assert_allclose(mirrored, hu[..., ::-1], atol=1e-4)


def test_where_there_is_no_head_the_middle_of_the_grid_halves_it() -> None:
    """Nothing but air is no reason to fail."""
    shape = (4, 6, 9)
    grid = HeadGrid(
        hu_zyx=np.full(shape, OUTSIDE_HU, dtype=np.float32), spacing_zyx_mm=SPACING, scanned_zyx=np.ones(shape, bool)
    )
    assert MidPlane.of(grid) == MidPlane(normal_zyx=(0.0, 0.0, 1.0), offset_mm=12.0)
