"""How well whole exams are told apart: area under the curve with its interval, and what false alarms cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 2000
ALARM_ML = 0.5
"""From here on the node calls somebody, unless its settings say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auc:
    """Area under the ROC curve over exams, with a 95 % percentile bootstrap interval."""

    value: float
    low: float
    high: float
    positives: int
    negatives: int


def auc(scores: Sequence[float], bled: Sequence[bool]) -> float | None:
    """Return the area under the curve, ties counted half; None without positives or without negatives."""
    score, truth = np.asarray(scores, dtype=np.float64), np.asarray(bled, dtype=bool)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    ranks = rankdata(score)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_interval(
    scores: Sequence[float], bled: Sequence[bool], *, resamples: int = RESAMPLES, seed: int = 0
) -> Auc | None:
    """Return the area with its interval over resampled exams; resamples of one kind only are drawn again."""
    value = auc(scores, bled)
    if value is None:
        return None
    score, truth = np.asarray(scores, dtype=np.float64), np.asarray(bled, dtype=bool)
    random = np.random.default_rng(seed)
    drawn: list[float] = []
    while len(drawn) < resamples:
        chosen = random.integers(0, len(truth), len(truth))
        one = auc(score[chosen].tolist(), truth[chosen].tolist())
        if one is not None:
            drawn.append(one)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Auc(
        value=value,
        low=float(low),
        high=float(high),
        positives=int(truth.sum()),
        negatives=int((~truth).sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """What the scans without blood, and those with, would have made the node do at a threshold."""

    threshold_ml: float
    negatives: int
    false_alarms_per_100: float | None  # of the scans without blood
    false_ml_mean: float | None  # marked in scans without blood
    false_ml_most: float | None
    positives: int
    sensitivity: float | None  # scans with blood in which at least the threshold was marked


def alarms(answer_ml: Sequence[float], bled: Sequence[bool], *, threshold_ml: float = ALARM_ML) -> Alarms:
    """Count alarms, right and wrong."""
    said, truth = np.asarray(answer_ml, dtype=np.float64), np.asarray(bled, dtype=bool)
    false, right = said[~truth], said[truth]
    return Alarms(
        threshold_ml=threshold_ml,
        negatives=len(false),
        false_alarms_per_100=100 * float((false >= threshold_ml).mean()) if len(false) else None,
        false_ml_mean=float(false.mean()) if len(false) else None,
        false_ml_most=float(false.max()) if len(false) else None,
        positives=len(right),
        sensitivity=float((right >= threshold_ml).mean()) if len(right) else None,
    )
