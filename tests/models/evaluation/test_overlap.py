from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.meandice import compute_dice
from monai.metrics.meaniou import compute_iou
from sklearn.metrics import f1_score, jaccard_score

from models.evaluation.overlap import mean_iou, overlap_of
from tests.models.evaluation.masks import blob, box


def test_by_hand() -> None:
    """Twelve voxels against eight with four in common."""
    answer, truth = box((4, 4, 1), (0, 3), (0, 4), (0, 1)), box((4, 4, 1), (2, 4), (0, 4), (0, 1))
    found = overlap_of(answer, truth)
    assert (found.both, found.truth_only, found.answer_only) == (4, 4, 8)
    assert found.dice(empty="none") == pytest.approx(0.4)
    assert found.iou(empty="none") == pytest.approx(0.25)


def test_empty_scans_follow_the_convention_asked_for() -> None:
    """A scan without blood that stays unmarked is 1 for INSTANCE and nothing for MONAI; a false mark is 0 for both."""
    nothing, something = np.zeros((3, 3, 3), dtype=bool), box((3, 3, 3), (0, 1), (0, 1), (0, 1))
    empty = overlap_of(nothing, nothing)
    assert (empty.dice(empty="one"), empty.dice(empty="none")) == (1.0, None)
    assert (empty.iou(empty="one"), empty.iou(empty="none")) == (1.0, None)
    assert overlap_of(something, nothing).dice(empty="none") == 0.0


def test_equal_to_monai_and_scikit_learn() -> None:
    """On irregular masks the figures are those of the reference implementations."""
    for seed in range(5):
        answer, truth = blob(seed), blob(seed + 100)
        ours = overlap_of(answer, truth)
        said, true = (torch.from_numpy(mask)[None, None] for mask in (answer, truth))
        assert ours.dice(empty="none") == pytest.approx(float(compute_dice(said, true)), abs=1e-6)
        assert ours.iou(empty="none") == pytest.approx(float(compute_iou(said, true)), abs=1e-6)
        assert ours.dice(empty="none") == pytest.approx(f1_score(truth.ravel(), answer.ravel()), abs=1e-6)
        assert ours.iou(empty="none") == pytest.approx(jaccard_score(truth.ravel(), answer.ravel()), abs=1e-6)


def test_background_lifts_the_mean_iou() -> None:
    """The background counts where it is given, and only there; classes in neither mask are left out."""
    answer, truth = box((10, 10, 1), (0, 2), (0, 2), (0, 1)), box((10, 10, 1), (1, 3), (0, 2), (0, 1))
    blood, background = overlap_of(answer, truth), overlap_of(~answer, ~truth)
    nothing = overlap_of(np.zeros_like(answer), np.zeros_like(answer))
    assert mean_iou([blood, nothing]) == pytest.approx(2 / 6)
    assert mean_iou([blood], background=background) == pytest.approx((2 / 6 + 94 / 98) / 2)
    assert mean_iou([nothing]) is None


def test_pooled_is_not_mean() -> None:
    """Counts of scans add up to the pooled figure."""
    large = overlap_of(box((9, 9, 1), (0, 9), (0, 9), (0, 1)), box((9, 9, 1), (0, 9), (0, 9), (0, 1)))
    missed = overlap_of(np.zeros((9, 9, 1), dtype=bool), box((9, 9, 1), (0, 1), (0, 9), (0, 1)))
    assert (large + missed).dice(empty="none") == pytest.approx(2 * 81 / (2 * 81 + 9))
