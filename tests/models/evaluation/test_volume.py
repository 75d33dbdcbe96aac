from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import pearsonr

from models.evaluation.volume import (
    bland_altman,
    concordance,
    error_by_size,
    intraclass_correlation,
    relative_difference,
    root_mean_square_error,
)

SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Table 2 of Shrout and Fleiss 1979: six targets, four judges."""


def test_icc_of_shrout_and_fleiss() -> None:
    """Their table gives 0.17, 0.29 and 0.71."""
    found = intraclass_correlation(SHROUT_FLEISS)
    assert found is not None
    assert round(found.one_way, 2) == 0.17
    assert round(found.two_way_random, 2) == 0.29
    assert round(found.two_way_mixed, 2) == 0.71


def test_icc_sees_a_constant_bias() -> None:
    """Ten millilitres too much in every scan: consistent, but no agreement; without scans to compare there is none."""
    found = intraclass_correlation([[1, 11], [2, 12], [3, 13]])
    assert found is not None
    assert found.two_way_mixed == pytest.approx(1.0)
    assert found.two_way_random == pytest.approx(1 / (1 + 50))  # (1 * 2 - 0) / (2 + 2 * 150 / 3), by hand
    assert intraclass_correlation([[1, 2]]) is None
    assert intraclass_correlation([[3, 3], [3, 3]]) is None


def test_bland_altman_by_hand() -> None:
    """Differences of 1, 2 and 3 mL: bias 2, deviation 1."""
    found = bland_altman([2, 4, 6], [1, 2, 3])
    assert found is not None
    assert (found.bias_ml, found.lower_ml, found.upper_ml) == pytest.approx((2.0, 0.04, 3.96))
    assert bland_altman([1], [1]) is None


def test_concordance() -> None:
    """Lin's coefficient is Pearson's times the bias correction."""
    x, y = [1.0, 2.0, 4.0, 9.0], [1.5, 2.5, 5.0, 8.0]
    v, u = np.std(x) / np.std(y), (np.mean(x) - np.mean(y)) / math.sqrt(np.std(x) * np.std(y))
    expected = pearsonr(x, y)[0] * 2 / (v + 1 / v + u * u)
    assert concordance(x, y) == pytest.approx(expected, abs=1e-6)


def test_error_by_size() -> None:
    """Scans go to the group of their true volume; those without blood to none."""
    strata = error_by_size([0.0, 2.0, 6.0, 9.0, 30.0, 3.0], [0.5, 1.0, 5.0, 10.0, 25.0, 0.0])
    assert [one.scans for one in strata] == [1, 1, 2, 1]
    assert strata[2].mean_ml == pytest.approx(1.0)
    assert strata[2].median_share == pytest.approx((0.2 + 0.1) / 2)
    assert strata[3].mean_ml == pytest.approx(5.0)
    assert strata[0].deviation_ml is None


def test_differences() -> None:
    """Relative difference has a sign, and none without blood; the root mean square is by hand."""
    assert relative_difference(12, 10) == pytest.approx(0.2)
    assert relative_difference(1, 0) is None
    assert root_mean_square_error([3, 0], [0, 4]) == pytest.approx(math.sqrt(12.5))
