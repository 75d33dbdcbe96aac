"""Axes and ABC/2 against cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from worker.axes import abc2_ml, axes_of


def test_a_bar_by_hand() -> None:
    """10 x 4 pixels of 1 x 0.5 mm: from edge to edge 10 mm across, sqrt(10^2 + 1.5^2) mm along the longest line."""
    j, i = np.nonzero(np.ones((4, 10), dtype=bool))
    axes = axes_of(j + 3, i + 5, row_spacing_mm=0.5, column_spacing_mm=1.0)
    assert axes.long_mm == pytest.approx(np.hypot(10.0, 1.5))
    (j0, i0), (j1, i1) = axes.long_ji
    assert {i0, i1} == {4.5, 14.5}
    assert {j0, j1} == {3.0, 6.0}


def test_one_pixel_is_as_long_as_it_is_wide() -> None:
    """The smallest region has the size of its pixel."""
    axes = axes_of(np.array([7]), np.array([9]), row_spacing_mm=0.5, column_spacing_mm=0.5)
    assert (axes.long_mm, axes.short_mm) == (0.5, 0.5)
    assert np.mean(axes.long_ji, axis=0).tolist() == [7.0, 9.0]


@pytest.mark.parametrize("radius", [6, 15, 40])
def test_a_disc_measures_its_diameter(radius: int) -> None:
    """Long and short axis of a disc are its diameter, to a pixel."""
    j, i = np.nonzero(np.hypot(*np.mgrid[-50:51, -50:51]) <= radius)
    axes = axes_of(j, i, row_spacing_mm=1.0, column_spacing_mm=1.0)
    assert axes.long_mm == pytest.approx(2 * radius + 0.5, abs=0.6)
    assert axes.short_mm == pytest.approx(2 * radius + 0.5, abs=0.6)


@pytest.mark.parametrize("turn_deg", [0.0, 20.0, 45.0, 77.0])
def test_an_ellipse_measures_its_axes(turn_deg: float) -> None:
    """However it is turned, an ellipse of 40 x 24 mm in uneven pixels measures that, and the axes cross squarely."""
    turn = np.radians(turn_deg)
    y, x = np.mgrid[-80:81, -80:81] * np.array([0.5, 0.4])[:, None, None]
    u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    j, i = np.nonzero((u / 20) ** 2 + (v / 12) ** 2 <= 1)
    axes = axes_of(j, i, row_spacing_mm=0.5, column_spacing_mm=0.4)
    assert axes.long_mm == pytest.approx(40, abs=0.6)
    assert axes.short_mm == pytest.approx(24, abs=0.8)
    along, across = (np.subtract(*ends) * np.array([0.5, 0.4]) for ends in (axes.long_ji, axes.short_ji))
    assert along @ across == pytest.approx(0.0, abs=1e-6)


def test_abc2_by_hand() -> None:
    """Areas 10, 30, 80, 100, 76, 75, 24 of the largest: C counts 0, 1/2, 1, 1, 1, 1/2, 0 slices of 5 mm."""
    areas = np.array([10.0, 30.0, 80.0, 100.0, 76.0, 75.0, 24.0])
    c_mm = (0.5 + 1 + 1 + 1 + 0.5) * 5.0
    assert abc2_ml(areas, np.full(7, 5.0), long_mm=40.0, short_mm=30.0) == pytest.approx(40 * 30 * c_mm / 2 / 1000)


def test_abc2_weighs_uneven_slices_by_their_shares() -> None:
    """C is a length: a slice that stands for 7 mm counts 7 mm."""
    ml = abc2_ml(np.array([0.0, 90.0, 100.0, 50.0]), np.array([4.0, 4.0, 5.5, 7.0]), long_mm=20.0, short_mm=10.0)
    assert ml == pytest.approx(20 * 10 * (4.0 + 5.5 + 3.5) / 2 / 1000)
