"""Whether probabilities mean what they say: Brier score, expected calibration error, reliability by bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Cases whose probability lies in one of ten equal bins."""

    low: float
    high: float
    cases: int
    mean_probability: float
    share_true: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Brier score (mean squared error), expected calibration error, and the bins that hold anything."""

    brier: float
    expected_error: float  # Guo 2017: the bins' |share true - mean probability|, weighted by their cases
    bins: tuple[Bin, ...]


def calibration(probabilities: Sequence[float], truth: Sequence[bool]) -> Calibration | None:
    """Measure probabilities in [0, 1] against what was; None for no cases."""
    said, true = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if not said.size:
        return None
    if said.min() < 0 or said.max() > 1:
        raise ValueError("probabilities lie between 0 and 1")
    which = np.minimum((said * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            cases=int(inside.sum()),
            mean_probability=float(said[inside].mean()),
            share_true=float(true[inside].mean()),
        )
        for number in range(BINS)
        if (inside := which == number).any()
    )
    error = sum(one.cases * abs(one.share_true - one.mean_probability) for one in bins) / said.size
    return Calibration(brier=float(((said - true) ** 2).mean()), expected_error=float(error), bins=bins)
