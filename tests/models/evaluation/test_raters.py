from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.raters import generalised_energy_distance, rater_figures, soft_dice

LEFT = np.array([1, 1, 0, 0], dtype=bool).reshape(4, 1, 1)
MIDDLE = np.array([0, 1, 1, 0], dtype=bool).reshape(4, 1, 1)
RIGHT = np.array([0, 0, 1, 1], dtype=bool).reshape(4, 1, 1)
NOTHING = np.zeros((4, 1, 1), dtype=bool)


def test_one_answer_against_three_raters_by_hand() -> None:
    """Dice of the middle with left, middle, right: 1/2, 1, 1/2; among raters 1/2, 0, 1/2."""
    found = rater_figures([MIDDLE], [LEFT, MIDDLE, RIGHT])
    assert found.dice_per_rater == pytest.approx((0.5, 1.0, 0.5))
    assert found.dice_max == pytest.approx(2 / 3)
    assert found.dice_match == pytest.approx(1.0)
    assert found.ceiling == pytest.approx(1 / 3)
    assert found.ceiling_max == pytest.approx(0.5)
    # mean rater: 1/3, 2/3, 2/3, 1/3; at 0.1 and 0.3 all four (Dice 2/3), at 0.5 the middle (1), above it nothing (0)
    assert found.dice_soft == pytest.approx((2 / 3 + 2 / 3 + 1 + 0 + 0) / 5)


def test_energy_distance_by_hand() -> None:
    """IoU of neighbours is 1/3, of left and right 0."""
    # across: (2/3 + 0 + 2/3)/3; answers 0; raters: 2 (2/3 + 1 + 2/3) / 9
    assert generalised_energy_distance([MIDDLE], [LEFT, MIDDLE, RIGHT]) == pytest.approx(8 / 9 - 14 / 27)
    raters = [LEFT, MIDDLE, RIGHT]
    assert generalised_energy_distance(raters, raters) == pytest.approx(0.0)


def test_several_answers_are_matched_for_the_best_sum() -> None:
    """In whatever order they come; two that see nothing agree."""
    found = rater_figures([RIGHT, LEFT, NOTHING], [LEFT, NOTHING, RIGHT])
    assert found.dice_match == pytest.approx(1.0)
    assert found.dice_max == pytest.approx(1.0)
    assert soft_dice([NOTHING], [NOTHING]) == 1.0
    single = rater_figures([LEFT], [LEFT])
    assert (single.ceiling, single.ceiling_max) == (None, None)
