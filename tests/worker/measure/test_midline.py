"""The head's own midline, and the sides of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.worker.geometry.scans import Floats, Plane, axial, head_hu, volume_of
from worker.findings import Laterality
from worker.head import survey_head
from worker.midline import fit_midline, side_of
from worker.series import read_studies
from worker.volume import read_volume


@pytest.mark.parametrize(("turn_deg", "shift_mm"), [(0.0, 0.0), (12.0, 8.0), (-25.0, -15.0)])
def test_a_turned_head_keeps_its_midline(turn_deg: float, shift_mm: float) -> None:
    """The plane follows a head that lies turned and off centre, to 3 degrees and 2 mm."""
    plane = axial(tuple(np.arange(-85.0, 85.0, 5.0).tolist()), spacing_mm=2.0, size=128)
    volume = volume_of(plane, lambda points: head_hu(points, centre=(shift_mm, 5.0, 0.0), turn_deg=turn_deg))
    midline = fit_midline(survey_head(volume))
    assert midline is not None
    turn = np.radians(turn_deg)
    expected = np.array([np.cos(turn), np.sin(turn), 0.0])
    assert expected @ midline.normal_lps > np.cos(np.radians(3.0))
    assert abs(midline.left_of_mm(np.array([[shift_mm, 5.0, 0.0]]))[0]) < 2.0


@pytest.mark.parametrize("row", [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)])
def test_left_is_the_patients_left(row: tuple[float, float, float]) -> None:
    """Left is where x grows, also where columns run from the patient's left to right."""
    start = -127.0 * row[0]
    plane = Plane(
        positions=tuple((start, -127.0, z) for z in np.arange(-85.0, 85.0, 5.0)),
        row=row,
        spacing=(2.0, 2.0),
        size=(128, 128),
    )
    midline = fit_midline(survey_head(volume_of(plane, head_hu)))
    assert midline is not None
    assert midline.left_of_mm(np.array([[30.0, 0.0, 0.0], [-30.0, 0.0, 0.0]])) == pytest.approx([30.0, -30.0], abs=2.0)


def test_without_a_brain_there_is_no_midline() -> None:
    """Nothing is guessed where no head is seen."""
    plane = axial((0.0, 5.0, 10.0), size=32)
    assert fit_midline(survey_head(volume_of(plane, lambda points: np.full(points.shape[:-1], 40.0)))) is None


def test_the_real_head_s_midline(test_data_dir: Path) -> None:
    """GE: the head lies turned by about eleven degrees; the frontal crest and the occipital one lie in the plane."""
    (series,) = read_studies([test_data_dir / "ge-hispeed-tilt"])[0].series
    volume = read_volume(series)
    midline = fit_midline(survey_head(volume))
    assert midline is not None
    assert np.degrees(np.arctan2(midline.normal_lps[1], midline.normal_lps[0])) == pytest.approx(-11, abs=3)


def blob(centre_mm: float, half_mm: float) -> Floats:
    return np.linspace(centre_mm - half_mm, centre_mm + half_mm, 101)


@pytest.mark.parametrize(
    ("parts", "side"),
    [
        ([(30.0, 10.0)], "left"),
        ([(-30.0, 10.0)], "right"),
        ([(12.0, 16.0)], "left"),  # reaches over, lies on the left
        ([(0.5, 4.0)], "midline"),
        ([(5.0, 9.0)], "midline"),  # a fifth on the other side, near the plane
        ([(0.0, 40.0)], "bilateral"),
        ([(30.0, 10.0), (-30.0, 10.0)], "bilateral"),
        ([(30.0, 10.0), (0.0, 3.0)], "left"),
        ([(0.0, 4.0), (30.0, 3.0)], "midline"),
    ],
)
def test_sides_by_hand(parts: list[tuple[float, float]], side: Laterality) -> None:
    """Each rule of the module's text, one by one; parts come largest first, volume by extent."""
    distance = np.concatenate([blob(centre, half) for centre, half in parts])
    number = np.repeat(np.arange(len(parts)), 101)
    weight = np.concatenate([np.full(101, half / 101) for _, half in parts])
    assert side_of(distance, weight, number) == side


def test_specks_have_no_say() -> None:
    """A speck of 0.05 mL on the other side does not make a label bilateral; one of 0.2 mL does."""
    distance = np.array([30.0, -30.0])
    number = np.array([0, 1])
    assert side_of(distance, np.array([15.0, 0.05]), number) == "left"
    assert side_of(distance, np.array([15.0, 0.2]), number) == "bilateral"
