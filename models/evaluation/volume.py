"""Agreement of volumes: relative difference, intraclass correlation, Bland-Altman, error by size of the bleed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

STRATA_ML = (0.0, 1.0, 5.0, 25.0, math.inf)
"""Lower bounds of the groups by true volume: below 1, 1 to 5, 5 to 25, above 25 mL."""


def relative_difference(answer_ml: float, truth_ml: float) -> float | None:
    """Return (answer - truth) / truth; None where there is nothing to relate to."""
    return (answer_ml - truth_ml) / truth_ml if truth_ml > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Icc:
    """Intraclass correlations of single measurements, named as Shrout and Fleiss 1979 name them."""

    one_way: float  # ICC(1,1), which the field's surveys print
    two_way_random: float  # ICC(2,1), absolute agreement: the one to report for volumes
    two_way_mixed: float  # ICC(3,1), consistency: blind to a constant bias


def intraclass_correlation(ratings: npt.ArrayLike) -> Icc | None:
    """Work out the correlations of (targets, raters); None for fewer than two of either, or where nothing varies.

    Shrout and Fleiss, Psychological Bulletin 1979;86:420.
    """
    table = np.asarray(ratings, dtype=np.float64)
    targets, raters = table.shape
    if targets < 2 or raters < 2:
        return None
    grand = table.mean()
    between_targets = raters * float(((table.mean(axis=1) - grand) ** 2).sum())
    between_raters = targets * float(((table.mean(axis=0) - grand) ** 2).sum())
    total = float(((table - grand) ** 2).sum())
    if total == 0:
        return None
    bms = between_targets / (targets - 1)
    wms = (total - between_targets) / (targets * (raters - 1))
    jms = between_raters / (raters - 1)
    ems = max(total - between_targets - between_raters, 0.0) / ((targets - 1) * (raters - 1))
    return Icc(
        one_way=(bms - wms) / (bms + (raters - 1) * wms),
        two_way_random=(bms - ems) / (bms + (raters - 1) * ems + raters * (jms - ems) / targets),
        two_way_mixed=(bms - ems) / (bms + (raters - 1) * ems) if bms + ems > 0 else 1.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlandAltman:
    """Bias of the answer, and the limits within which 95 % of the differences lie, all in mL."""

    bias_ml: float
    lower_ml: float
    upper_ml: float


def bland_altman(answer_ml: Sequence[float], truth_ml: Sequence[float]) -> BlandAltman | None:
    """Work out bias and limits of agreement (1.96 sample deviations); None for fewer than two scans."""
    if len(answer_ml) < 2:
        return None
    difference = np.asarray(answer_ml, dtype=np.float64) - np.asarray(truth_ml, dtype=np.float64)
    bias, spread = float(difference.mean()), 1.96 * float(difference.std(ddof=1))
    return BlandAltman(bias_ml=bias, lower_ml=bias - spread, upper_ml=bias + spread)


def concordance(answer_ml: Sequence[float], truth_ml: Sequence[float]) -> float | None:
    """Return Lin's concordance correlation (Biometrics 1989;45:255); None for fewer than two scans or no variation."""
    if len(answer_ml) < 2:
        return None
    x, y = np.asarray(answer_ml, dtype=np.float64), np.asarray(truth_ml, dtype=np.float64)
    spread = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    return 2 * float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumError:
    """Absolute errors of the scans whose true volume lies in [low, high) mL."""

    low_ml: float
    high_ml: float  # may be infinite
    scans: int
    mean_ml: float | None
    deviation_ml: float | None  # of the sample
    median_ml: float | None
    median_share: float | None  # of the true volume


def error_by_size(answer_ml: Sequence[float], truth_ml: Sequence[float]) -> tuple[StratumError, ...]:
    """Sort the scans that truly hold blood by its volume and sum up their errors."""
    said, true = np.asarray(answer_ml, dtype=np.float64), np.asarray(truth_ml, dtype=np.float64)
    strata = []
    for low, high in itertools.pairwise(STRATA_ML):
        inside = (true > 0) & (true >= low) & (true < high)
        error = np.abs(said - true)[inside]
        strata.append(
            StratumError(
                low_ml=low,
                high_ml=high,
                scans=len(error),
                mean_ml=float(error.mean()) if len(error) else None,
                deviation_ml=float(error.std(ddof=1)) if len(error) > 1 else None,
                median_ml=float(np.median(error)) if len(error) else None,
                median_share=float(np.median(error / true[inside])) if len(error) else None,
            )
        )
    return tuple(strata)


def root_mean_square_error(answer_ml: Sequence[float], truth_ml: Sequence[float]) -> float | None:
    """Return the root mean square error in mL; None for no scans."""
    if not len(answer_ml):
        return None
    difference = np.asarray(answer_ml, dtype=np.float64) - np.asarray(truth_ml, dtype=np.float64)
    return float(np.sqrt((difference**2).mean()))
