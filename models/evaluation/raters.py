"""Answers against several raters of one scan: the figures of MBH-Seg, beside what raters reach among themselves.

Every set holds masks of one shape. Two empty masks agree: Dice 1, distance 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from models.evaluation.overlap import overlap_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Masks = Sequence[npt.NDArray[np.bool_]]

SOFT_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterFigures:
    """How a set of answers (one or several) compares with a set of raters."""

    raters: int
    answers: int
    ged: float  # squared generalised energy distance, d = 1 - IoU
    dice_max: float  # for every rater the best answer, averaged
    dice_match: float  # answers and raters paired one to one for the greatest sum (Hungarian), averaged over the pairs
    dice_soft: float  # mean mask against mean mask at five thresholds, averaged
    dice_per_rater: tuple[float, ...]  # mean over the answers
    ceiling: float | None  # mean Dice of two raters; None for a single one
    ceiling_max: float | None  # for every rater the best other rater, averaged: what `dice_max` could reach


def rater_figures(answers: Masks, raters: Masks) -> RaterFigures:
    """Compare the sets; each must hold at least one mask."""
    table = np.array([[_dice(answer, rater) for rater in raters] for answer in answers])
    rows, columns = linear_sum_assignment(-table)
    among = {pair: _dice(raters[pair[0]], raters[pair[1]]) for pair in combinations(range(len(raters)), 2)}
    best_other = [
        max(value for pair, value in among.items() if number in pair) for number in range(len(raters)) if among
    ]
    return RaterFigures(
        raters=len(raters),
        answers=len(answers),
        ged=generalised_energy_distance(answers, raters),
        dice_max=float(table.max(axis=0).mean()),
        dice_match=float(table[rows, columns].mean()),
        dice_soft=soft_dice(answers, raters),
        dice_per_rater=tuple(float(value) for value in table.mean(axis=0)),
        ceiling=float(np.mean(list(among.values()))) if among else None,
        ceiling_max=float(np.mean(best_other)) if best_other else None,
    )


def generalised_energy_distance(answers: Masks, raters: Masks) -> float:
    """Return 2 E d(S, Y) - E d(S, S') - E d(Y, Y') with d = 1 - IoU, pairs of one with itself counted (Kohl 2018)."""
    across = _mean_distance(answers, raters)
    return 2 * across - _mean_distance(answers, answers) - _mean_distance(raters, raters)


def soft_dice(answers: Masks, raters: Masks) -> float:
    """Average the Dice of the two mean masks, cut at the thresholds."""
    said, true = (np.mean([mask.astype(np.float32) for mask in masks], axis=0) for masks in (answers, raters))
    return float(np.mean([_dice(said >= limit, true >= limit) for limit in SOFT_THRESHOLDS]))


def _mean_distance(first: Masks, second: Masks) -> float:
    return float(np.mean([1 - overlap_of(a, b).iou(empty="one") for a in first for b in second]))


def _dice(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    return overlap_of(first, second).dice(empty="one")
