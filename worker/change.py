"""What changed since a prior result: said only where both speak of the same patient, model and part of the head.

No percentage below a baseline of 3 mL, where one voxel more is many per cent. No advice: commonly cited thresholds for
expansion (6 mL, 33 %) are the reader's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.stack import ACQUISITIONS_APART

if TYPE_CHECKING:
    from datetime import datetime

    from worker.result import AnalysisResult, ResultCoverage

LEAST_BASELINE_ML = 3.0
EXTENT_DIFFERENCE_MM = 15.0  # whole heads are comparable; parts of one where either end differs by less than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The total haemorrhage against a prior scan's."""

    prior_scanned_at: datetime
    prior_total_ml: float
    change_ml: float
    change_percent: float | None
    """None below LEAST_BASELINE_ML."""


def change_since(prior: AnalysisResult, now: AnalysisResult) -> Change | None:
    """Compare two results of one patient; None where they cannot be compared.

    The caller vouches for the patient. Both must be analysed by the same model digest and member count, the prior scan
    must lie before by more than what one acquisition takes, and both must cover the same part of the head.
    """
    if prior.total_haemorrhage_ml is None or now.total_haemorrhage_ml is None:
        return None
    if prior.scanned_at is None or now.scanned_at is None:
        return None
    if now.scanned_at - prior.scanned_at <= ACQUISITIONS_APART:
        return None
    if prior.model is None or now.model is None or prior.model.digest != now.model.digest:
        return None
    if prior.model.members != now.model.members or not _comparable(prior.coverage, now.coverage):
        return None
    before_ml = prior.total_haemorrhage_ml
    change_ml = round(now.total_haemorrhage_ml - before_ml, 3) + 0.0
    return Change(
        prior_scanned_at=prior.scanned_at,
        prior_total_ml=before_ml,
        change_ml=change_ml,
        change_percent=None if before_ml < LEAST_BASELINE_ML else round(100.0 * change_ml / before_ml, 1) + 0.0,
    )


def _comparable(prior: ResultCoverage | None, now: ResultCoverage | None) -> bool:
    if prior is None or now is None or prior.whole_head != now.whole_head:
        return False
    ends = (now.lowest_mm - prior.lowest_mm, now.highest_mm - prior.highest_mm)
    return now.whole_head or max(map(abs, ends)) < EXTENT_DIFFERENCE_MM
