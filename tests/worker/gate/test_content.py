"""The gate by content: a head with a brain in it passes, whatever its header says; nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.worker.geometry.scans import Floats, Plane, axial, head_hu, volume_of
from worker.gate import GateRules, judge_content, load_rules
from worker.series import read_studies
from worker.volume import Volume, read_volume


@pytest.fixture(scope="module")
def rules() -> GateRules:
    """The rules that are shipped."""
    return load_rules(None)


def plane(low_mm: float = -85.0, high_mm: float = 85.0) -> Plane:
    return axial(tuple(np.arange(low_mm, high_mm, 5.0).tolist()), spacing_mm=2.0, size=128)


def trunk_hu(points: Floats) -> Floats:
    """Give an abdomen: an oval of soft tissue with a spine and a dozen rib cross-sections in its wall."""
    radius = np.sqrt((points[..., 0] / 110.0) ** 2 + (points[..., 1] / 90.0) ** 2)
    hu = np.where(radius < 1.0, 50.0, -1000.0)
    hu[np.hypot(points[..., 0], points[..., 1] - 55.0) < 18.0] = 400.0
    around = np.arctan2(points[..., 1], points[..., 0])
    hu[(radius > 0.86) & (radius < 0.93) & (np.cos(6 * around) > 0.85)] = 500.0
    return hu


def neck_hu(points: Floats) -> Floats:
    """Give a neck: a vertebra with its canal in a cylinder of muscle, and an airway."""
    radius = np.hypot(points[..., 0], points[..., 1])
    hu = np.where(radius < 60.0, 55.0, -1000.0)
    ring = np.hypot(points[..., 0], points[..., 1] - 10.0)
    hu[(ring > 10.0) & (ring < 20.0)] = 600.0
    hu[np.hypot(points[..., 0], points[..., 1] + 30.0) < 9.0] = -1000.0
    return hu


def read(folder: Path) -> Volume:
    (series,) = read_studies([folder])[0].series
    return read_volume(series)


def test_a_head_is_a_head(rules: GateRules) -> None:
    """Brain under a skull, from vertex to base, is fit and wholly covered."""
    content = judge_content(volume_of(plane(), head_hu), rules)
    assert (content.reasons, content.warnings) == ((), ())
    assert content.coverage.whole_head
    assert (content.coverage.lowest_mm, content.coverage.highest_mm) == (-85.0, 80.0)
    brain_ml = 4 / 3 * np.pi * 6.8 * 8.6 * 7.2
    assert content.head.brain_ml == pytest.approx(brain_ml, rel=0.1)


@pytest.mark.parametrize(("low_mm", "high_mm"), [(-85.0, 30.0), (0.0, 85.0)])
def test_part_of_a_head_is_said_to_be_one(rules: GateRules, low_mm: float, high_mm: float) -> None:
    """A scan that stops below the vertex or above the base is analysed with a warning."""
    content = judge_content(volume_of(plane(low_mm, high_mm), head_hu), rules)
    assert content.reasons == ()
    assert [warning.code for warning in content.warnings] == ["partial_head"]
    assert not content.coverage.whole_head


def test_what_is_no_head_is_refused(rules: GateRules) -> None:
    """An air-filled skull, a trunk, a neck, empty air and water each show no brain under a skull."""
    for hu_of_points in (
        lambda points: head_hu(points, inside_hu=-990.0),
        trunk_hu,
        neck_hu,
        lambda points: np.full(points.shape[:-1], -1000.0),
        lambda points: np.full(points.shape[:-1], 40.0),
    ):
        content = judge_content(volume_of(plane(), hu_of_points), rules)
        assert [reason.code for reason in content.reasons] in (["no_brain"], ["not_a_head"])


def test_brain_of_the_wrong_density_is_refused(rules: GateRules) -> None:
    """Values that are no HU of brain, such as a wrong rescale or heavy contrast, are not measured."""
    content = judge_content(volume_of(plane(), lambda points: head_hu(points, inside_hu=85.0)), rules)
    assert [reason.code for reason in content.reasons] == ["implausible_hu"]


def with_vessels(points: Floats, *, top_mm: float, added_hu: float = 250.0) -> Floats:
    """Give a head with bright vessels 24 mm apart, up to a height."""
    hu = head_hu(points)
    vessel = np.hypot(points[..., 0] % 24.0 - 12.0, points[..., 1] % 24.0 - 12.0) < 3.0
    hu[vessel & (points[..., 2] < top_mm)] += added_hu
    return hu


def test_vessels_full_of_contrast_are_refused(rules: GateRules) -> None:
    """Contrast all through the brain is refused, whatever the header says; a little that is dense is told."""
    content = judge_content(volume_of(plane(), lambda points: with_vessels(points, top_mm=80.0)), rules)
    assert [reason.code for reason in content.reasons] == ["contrast_seen"]
    content = judge_content(volume_of(plane(), lambda points: with_vessels(points, top_mm=-20.0)), rules)
    assert content.reasons == ()
    assert [warning.code for warning in content.warnings] == ["contrast_possible"]


def with_noise(standard_deviation_hu: float) -> Callable[[Floats], Floats]:
    random = np.random.default_rng(1)

    def noisy(points: Floats) -> Floats:
        return np.asarray(head_hu(points) + random.normal(0, standard_deviation_hu, points.shape[:-1]))

    return noisy


def test_a_sharp_kernel_is_seen_by_its_noise(rules: GateRules) -> None:
    """Noise of a bone kernel refuses a series whose kernel has no known name; a named soft kernel gets a warning."""
    fine = axial(tuple(np.arange(-85.0, 85.0, 5.0).tolist()), spacing_mm=1.0, size=256)
    sharp = volume_of(fine, with_noise(35.0))
    assert [reason.code for reason in judge_content(sharp, rules).reasons] == ["bone_kernel_seen"]
    named = judge_content(sharp, rules, soft_kernel=True)
    assert (named.reasons, [warning.code for warning in named.warnings]) == ((), ["noisy"])
    assert judge_content(volume_of(fine, with_noise(8.0)), rules).warnings == ()


def with_clip(points: Floats) -> Floats:
    hu = head_hu(points)
    hu[(np.abs(points - (20.0, -10.0, 0.0)) < (3.0, 3.0, 4.0)).all(axis=-1)] = 3071.0
    return hu


def with_skull_gap(points: Floats) -> Floats:
    """Give a head without bone over a side of the brain, 9 cm long and 8 cm high."""
    hu = head_hu(points)
    gap = (points[..., 0] > 30.0) & (np.abs(points[..., 1]) < 45.0) & (np.abs(points[..., 2] - 10.0) < 40.0)
    hu[gap & (hu > 250.0)] = 20.0
    return hu


def with_burr_hole(points: Floats) -> Floats:
    hu = head_hu(points)
    hole = np.hypot(points[..., 1] + 20.0, points[..., 2] - 20.0) < 7.0
    hu[hole & (points[..., 0] > 0.0) & (hu > 250.0)] = 20.0
    return hu


def with_drain(points: Floats) -> Floats:
    """Give a head with a 4 mm tube from the right frontal brain to beside the middle."""
    start, end = np.array([-40.0, -50.0, 45.0]), np.array([-5.0, 0.0, 0.0])
    along = (end - start) / np.linalg.norm(end - start)
    from_start = points - start
    at = np.clip(from_start @ along, 0.0, float(np.linalg.norm(end - start)))
    hu = head_hu(points)
    hu[(np.linalg.norm(from_start - at[..., None] * along, axis=-1) < 2.0) & (hu < 250.0)] = 400.0
    return hu


def with_calcified_falx(points: Floats) -> Floats:
    hu = head_hu(points)
    line = (np.abs(points[..., 0]) < 1.5) & (np.abs(points[..., 1]) < 40.0) & (np.abs(points[..., 2] - 30.0) < 3.0)
    hu[line] = 300.0
    return hu


def with_motion(points: Floats) -> Floats:
    """Give a head that moved 12 mm for one slice."""
    return head_hu(points, centre=(0.0, 12.0, 0.0) if abs(points[0, 0, 2] - 5.0) < 0.1 else (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("hu_of_points", "codes"),
    [
        (with_clip, ["metal"]),
        (with_skull_gap, ["craniectomy"]),
        (with_burr_hole, []),
        (with_drain, ["drain"]),
        (with_calcified_falx, []),
        (with_motion, ["motion"]),
    ],
)
def test_what_disturbs_is_named_and_analysed(
    rules: GateRules, hu_of_points: Callable[[Floats], Floats], codes: list[str]
) -> None:
    """Metal, a craniectomy, a drain and motion do not refuse a head; a burr hole and a calcified falx are normal."""
    content = judge_content(volume_of(plane(), hu_of_points), rules)
    assert content.reasons == ()
    assert [warning.code for warning in content.warnings] == codes


def test_metal_and_its_streaks_are_not_taken_for_contrast(rules: GateRules) -> None:
    """Dense brain beside a clip is warned of and not refused."""

    def streaked(points: Floats) -> Floats:
        return np.maximum(with_vessels(points, top_mm=80.0), with_clip(points))

    content = judge_content(volume_of(plane(), streaked), rules)
    assert content.reasons == ()
    assert [warning.code for warning in content.warnings] == ["contrast_possible", "metal"]


def test_the_real_head_is_one(test_data_dir: Path, rules: GateRules) -> None:
    """GE: 1.4 L of brain at 31 HU, wholly covered; calcified choroid and pineal do not look like contrast."""
    content = judge_content(read(test_data_dir / "ge-hispeed-tilt"), rules)
    assert (content.reasons, content.warnings) == ((), ())
    assert content.coverage.whole_head
    assert content.head.brain_ml == pytest.approx(1430, abs=100)
    assert content.head.median_hu == pytest.approx(31, abs=3)


def test_the_real_phantom_is_none(test_data_dir: Path, rules: GateRules) -> None:
    """Philips: a skull full of air holds no brain, though its header says BRAIN."""
    content = judge_content(read(test_data_dir / "philips-ingenuity" / "axial-5mm"), rules)
    assert [reason.code for reason in content.reasons] == ["no_brain"]
