from __future__ import annotations

import numpy as np
import pytest

from models.training.phantom_figures import compare, summarise


def _labels(*runs: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return a row of voxels: (how many, label) after one another."""
    return np.concatenate([np.full(count, label, dtype=np.uint8) for count, label in runs]).reshape(1, 1, -1)


def test_figures_by_hand() -> None:
    """Dice, volume error and false volume equal values worked out by hand; oedema counts as no haemorrhage."""
    truth = _labels((10, 1), (5, 3), (5, 0))
    said = _labels((6, 1), (2, 4), (2, 0), (5, 3), (5, 0))
    bled = compare(said, truth, voxel_ml=1.0)
    assert bled.dice == pytest.approx(2 * 8 / 18)
    assert bled.dice_by_label == {"IPH": pytest.approx(2 * 6 / 16), "EAH": None, "oedema": 1.0, "IVH": None}
    free = compare(_labels((3, 2), (17, 0)), _labels((20, 0)), voxel_ml=0.5)
    assert (free.truth_ml, free.answer_ml, free.dice) == (0.0, 1.5, 0.0)
    figures = summarise([bled, free])
    assert figures.mean_dice == pytest.approx(16 / 18)
    assert figures.median_volume_error == pytest.approx(0.2)
    assert (figures.cases, figures.lesion_free, figures.mean_false_ml) == (2, 1, 1.5)
