"""The mask never leaves out intracranial tissue, and leaves out enough to be worth it."""

from __future__ import annotations

import numpy as np
import pytest

from models.segmenter import HeadGrid
from models.tissue import intracranial_tissue
from tests.models.analytic_heads import Mask, grid_of, head, places_mm


def _missed(grid: HeadGrid, intracranial: Mask) -> int:
    return int((intracranial & grid.scanned_zyx & ~intracranial_tissue(grid)).sum())


def test_an_intact_head_is_covered_and_its_surroundings_are_not() -> None:
    """All of the brain up to the inner table; neither neck nor scalp beyond a rim, nor the headrest."""
    hu, intracranial = head()
    mask = intracranial_tissue(grid_of(hu))
    assert not (intracranial & ~mask).any()
    tissue = hu > -200
    assert mask.sum() < intracranial.sum() + 0.5 * (tissue & ~intracranial).sum()


@pytest.mark.parametrize("radius_mm", [5.0, 25.0, 50.0, 65.0])
def test_a_craniectomy_is_covered_with_what_swells_out(radius_mm: float) -> None:
    """From a burr hole to a hemicraniectomy, with the brain 12 mm outside the skull."""
    hu, intracranial = head(skull_hole_mm=radius_mm, swelling_mm=12.0)
    assert _missed(grid_of(hu), intracranial) == 0


@pytest.mark.parametrize(("first", "last"), [(80, 127), (97, 127), (40, 73), (13, 47)])
def test_a_scan_of_a_part_is_covered(first: int, last: int) -> None:
    """Vertex only, a slab through the middle, the base only: where the scan ends is no outside."""
    hu, intracranial = head()
    assert _missed(grid_of(hu[first:last]), intracranial[first:last]) == 0


@pytest.mark.parametrize("slope", [-0.45, 0.33])
def test_a_tilted_scan_is_covered(slope: float) -> None:
    """A gantry tilt leaves wedges unscanned above and below; they are not air round the head."""
    hu, intracranial = head()
    z, y, _ = places_mm()
    above = z - slope * y
    scanned = np.asarray((above > -45) & (above < 60))
    assert _missed(grid_of(hu, scanned), intracranial) == 0


def test_a_field_of_view_inside_the_head_is_covered() -> None:
    """No air to be seen anywhere: all tissue counts."""
    hu, intracranial = head()
    part = (slice(47, 93), slice(40, 113), slice(40, 93))
    assert _missed(grid_of(hu[part]), intracranial[part]) == 0


def test_blood_against_the_skull_is_covered() -> None:
    """A thin dense rim along the inner table, as of a subdural haematoma, is never cut."""
    hu, intracranial = head()
    rim = intracranial & (hu < 100)
    hu[rim] += 35.0
    assert _missed(grid_of(hu), intracranial) == 0


def test_air_holds_nothing_and_no_skull_means_everything() -> None:
    """An empty scan gives an empty mask; tissue without any skull gives all of it."""
    air = np.full((40, 40, 40), -1000.0, dtype=np.float32)
    assert not intracranial_tissue(grid_of(air)).any()
    ball = air.copy()
    ball[10:30, 10:30, 10:30] = 40.0
    assert intracranial_tissue(grid_of(ball))[10:30, 10:30, 10:30].all()
