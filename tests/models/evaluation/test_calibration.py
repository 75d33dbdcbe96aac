from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from models.evaluation.calibration import calibration


def test_by_hand() -> None:
    """Four cases in two bins."""
    found = calibration([0.1, 0.1, 0.9, 1.0], [False, True, True, True])
    assert found is not None
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0.0) / 4)
    assert found.expected_error == pytest.approx((2 * 0.4 + 2 * 0.05) / 4)
    assert [one.cases for one in found.bins] == [2, 2]
    assert calibration([], []) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration([1.2], [True])


def test_equal_to_scikit_learn() -> None:
    """Brier score and reliability are scikit-learn's."""
    random = np.random.default_rng(2)
    said = random.random(300)
    true = random.random(300) < said**2
    found = calibration(said.tolist(), true.tolist())
    assert found is not None
    assert found.brier == pytest.approx(brier_score_loss(true, said), abs=1e-6)
    share, mean = calibration_curve(true, said, n_bins=10)
    assert [one.share_true for one in found.bins] == pytest.approx(share.tolist(), abs=1e-6)
    assert [one.mean_probability for one in found.bins] == pytest.approx(mean.tolist(), abs=1e-6)
