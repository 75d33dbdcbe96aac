from __future__ import annotations

import numpy as np
import pytest
from monai.metrics.froc import compute_froc_curve_data, compute_froc_score

from models.evaluation.lesions import FalseMark, HitRule, Lesion, ScanLesions, froc, match_lesions, sensitivity_by_size
from tests.models.evaluation.masks import box, grid_of

SHAPE = (30, 20, 10)


def test_hits_misses_and_false_marks_by_hand() -> None:
    """A tenth covered is a hit, less is none; a part that touches nothing is false; specks are neither."""
    well, barely, missed = (box(SHAPE, (low, low + 2), (0, 10), (0, 10)) for low in (0, 6, 12))
    answer = (
        box(SHAPE, (0, 1), (0, 10), (0, 10)) | box(SHAPE, (6, 7), (0, 1), (0, 5)) | box(SHAPE, (20, 22), (0, 5), (0, 5))
    )
    speck = box(SHAPE, (28, 29), (18, 19), (0, 1))
    found = match_lesions(answer | speck, well | barely | missed, grid=grid_of(SHAPE, (1.0, 1.0, 10.0)), rule=HitRule())
    assert [lesion.covered_share for lesion in found.lesions] == pytest.approx([0.5, 0.025, 0.0])
    assert [lesion.hit for lesion in found.lesions] == [True, False, False]
    assert [lesion.score for lesion in found.lesions] == pytest.approx([1.0, 0.0, 0.0])
    assert [mark.volume_ml for mark in found.false_marks] == pytest.approx([0.5])
    sizes = sensitivity_by_size([found])
    assert [(one.lesions, one.hit) for one in sizes] == [(0, 0), (3, 1), (0, 0), (0, 0)]
    assert sizes[1].sensitivity == pytest.approx(1 / 3)


def test_scores_are_the_parts_greatest() -> None:
    """Where voxels have scores, a part's score is its greatest."""
    truth = box(SHAPE, (0, 3), (0, 10), (0, 10))
    scores = np.zeros(SHAPE)
    scores[1, 4, 4] = 0.83
    found = match_lesions(truth, truth, grid=grid_of(SHAPE, (1.0, 1.0, 10.0)), rule=HitRule(), scores=scores)
    assert found.lesions[0].score == pytest.approx(0.83)


def test_froc_equals_monai_where_it_has_points() -> None:
    """MONAI's curve leaves out the most lenient point; all others are the same, and so is the score over them."""
    random = np.random.default_rng(1)
    right, wrong = random.random(12), random.random(9)
    scans = [
        ScanLesions(
            lesions=tuple(Lesion(volume_ml=1, covered_share=1, hit=True, score=float(s)) for s in right[n::3]),
            false_marks=tuple(FalseMark(volume_ml=1, score=float(s)) for s in wrong[n::3]),
        )
        for n in range(3)
    ]
    ours = froc(scans, rates=(0.25, 0.5, 1.0, 2.0))
    assert ours is not None
    rate, sensitivity = compute_froc_curve_data(wrong, right, num_targets=12, num_images=3)
    assert list(ours.false_per_scan[:-1]) == pytest.approx(rate[::-1].tolist(), abs=1e-6)
    assert list(ours.sensitivity[:-1]) == pytest.approx(sensitivity[::-1].tolist(), abs=1e-6)
    assert ours.score == pytest.approx(compute_froc_score(rate, sensitivity, (0.25, 0.5, 1.0, 2.0)), abs=1e-6)
    assert ours.sensitivity[-1] == 1.0


def test_froc_without_lesions_is_none() -> None:
    """Sensitivity of nothing is not a number."""
    assert froc([ScanLesions(lesions=(), false_marks=(FalseMark(volume_ml=1, score=1),))]) is None
