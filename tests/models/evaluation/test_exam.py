from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.evaluation.exam import alarms, auc, auc_interval


def test_auc_equals_scikit_learn() -> None:
    """Ties included."""
    random = np.random.default_rng(3)
    for _ in range(5):
        scores, bled = random.integers(0, 6, 40).astype(float).tolist(), (random.random(40) < 0.4).tolist()
        assert auc(scores, bled) == pytest.approx(roc_auc_score(bled, scores), abs=1e-6)
    assert auc([1.0, 2.0], [True, True]) is None


def test_interval_holds_the_value_and_repeats() -> None:
    """The interval is seeded, lies round the value, and is a point where the two kinds do not touch."""
    scores, bled = [0.1, 0.4, 0.35, 0.8, 0.7, 0.2], [False, False, True, True, True, False]
    one, again = auc_interval(scores, bled, resamples=200), auc_interval(scores, bled, resamples=200)
    assert one is not None
    assert one == again
    assert one.value == pytest.approx(8 / 9)
    assert one.low <= one.value <= one.high
    apart = auc_interval([0, 0, 5, 5], [False, False, True, True], resamples=50)
    assert apart is not None
    assert (apart.low, apart.value, apart.high) == (1.0, 1.0, 1.0)


def test_alarms_by_hand() -> None:
    """Of four scans without blood one would have called; of two with blood one would not."""
    found = alarms([0.0, 0.4, 0.5, 0.0, 12.0, 0.1], [False, False, False, False, True, True])
    assert found.false_alarms_per_100 == pytest.approx(25.0)
    assert found.false_ml_mean == pytest.approx(0.225)
    assert found.false_ml_most == pytest.approx(0.5)
    assert found.sensitivity == pytest.approx(0.5)
    assert alarms([1.0], [True]).false_alarms_per_100 is None
