"""Slices at uneven distances count by their own shares and lie where the scan has them, not where an affine would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from console.evaluation.abc2 import truth_abc2_ml
from models.evaluation.confusion import confusion_of
from models.evaluation.grid import MaskGrid, SlicePlaces
from models.evaluation.label_map import FOUR_CLASS, compared_classes
from models.evaluation.lesions import HitRule, match_lesions
from models.evaluation.surface import surface_figures
from tests.models.evaluation.masks import box, grid_of

SHAPE = (10, 10, 5)
HEIGHTS_MM = np.array([0.0, 2.0, 4.0, 9.0, 14.0])  # gaps of 2, 2, 5, 5: a mean of 3.5


@pytest.fixture
def grid() -> MaskGrid:
    """Voxels of 2 x 1 mm; slices stand for 2, 2, 3.5, 5 and 5 mm."""
    places = np.stack([np.zeros(5), np.zeros(5), HEIGHTS_MM], axis=1)
    shares = np.array([2.0, 2.0, 3.5, 5.0, 5.0])
    return replace(grid_of(SHAPE, (2.0, 1.0, 3.5)), slices=SlicePlaces(first_ras_mm=places, shares_mm=shares))


def test_volumes_by_hand(grid: MaskGrid) -> None:
    """Ten voxels in a slice of 2 mm, twenty in one of 5: 240 cubic millimetres, of which the mean would make 210."""
    low, high = box(SHAPE, (0, 5), (0, 2), (0, 1)), box(SHAPE, (0, 5), (0, 4), (3, 4))
    assert grid.volumes_ml(low * 1 + high * 2, 2)[1:] == pytest.approx([0.04, 0.2])
    assert grid.volume_ml(low | high) == pytest.approx(0.24)
    found = match_lesions(high, low | high, grid=grid, rule=HitRule(least_ml=0.01))
    assert [lesion.volume_ml for lesion in found.lesions] == pytest.approx([0.04, 0.2])
    confused = confusion_of(high * 1, low * 1 + high * 2, compared_classes(FOUR_CLASS, FOUR_CLASS), grid=grid)
    assert sum(sum(row) for row in confused.millilitres) == pytest.approx(0.24)


def test_a_lesion_is_covered_by_volume(grid: MaskGrid) -> None:
    """A third of its voxels in a thin slice is a sixth of its millilitres: below the fifth that the rule asks for."""
    truth = box(SHAPE, (0, 5), (0, 4), (1, 5)) & ~box(SHAPE, (0, 10), (0, 10), (2, 3))
    truth |= box(SHAPE, (0, 1), (0, 1), (2, 3))  # joins the parts
    found = match_lesions(box(SHAPE, (0, 5), (0, 4), (1, 2)), truth, grid=grid, rule=HitRule(least_share=0.2))
    (lesion,) = found.lesions
    assert lesion.covered_share == pytest.approx(20 * 2 / (20 * 2 + 3.5 + 20 * 5 + 20 * 5))
    assert not lesion.hit


def test_distances_are_the_scans(grid: MaskGrid) -> None:
    """One step in k is 2 mm at the foot and 5 mm at the top; areas of such surfaces are not tabled."""
    for k, wanted_mm in ((0, 2.0), (3, 5.0)):
        answer, truth = box(SHAPE, (2, 4), (2, 4), (k, k + 1)), box(SHAPE, (2, 4), (2, 4), (k + 1, k + 2))
        found = surface_figures(answer, truth, grid)
        assert found.hd_mm == pytest.approx(wanted_mm)
        assert found.nsd is None


def test_abc2_weighs_each_slice(grid: MaskGrid) -> None:
    """The same square over two slices is five halves as tall where they stand for 5 mm as where for 2."""
    low, high = (truth_abc2_ml(box(SHAPE, (0, 5), (0, 10), (k, k + 2)), grid) for k in (0, 3))
    assert low is not None
    assert high == pytest.approx(2.5 * low)


def test_even_slices_are_the_determinants() -> None:
    """An even grid, sheared or not, gives every slice the affine's volume, and sums that reach a limit exactly."""
    tilted = grid_of(SHAPE, (1.0, 1.0, 10.0), shear=3.0)
    assert tilted.slice_ml == pytest.approx(np.full(5, 0.01))
    ten = box(SHAPE, (0, 1), (0, 2), (0, 5))
    assert tilted.volumes_ml(ten * 1, 1)[1] == 10 * tilted.voxel_ml == tilted.volume_ml(ten)
