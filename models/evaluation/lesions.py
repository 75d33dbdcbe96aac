"""Single bleeds: which were found, which were made up, and FROC over all scans.

A lesion is a 26-connected part of any haemorrhage. The hit rule, stated with every figure: a true lesion is hit where
the answer covers at least a tenth of its volume; a marked part is false where it touches no true voxel. Parts below
0.1 mL, specks of a few voxels, are neither lesions nor false marks; they count in volumes only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from models.evaluation.volume import STRATA_ML

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.evaluation.grid import MaskGrid

FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""False marks per scan at which sensitivity is read."""

_ROUNDING = 1e-9  # of a share: a tenth of the voxels is a tenth of the volume


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRule:
    """When a lesion counts as found."""

    least_share: float = 0.1  # of the lesion's volume
    least_ml: float = 0.1  # smaller parts are not counted

    def __str__(self) -> str:
        """Say the rule as a report prints it."""
        return (
            f"a true lesion of {self.least_ml:g} mL or more is hit where the answer covers at least "
            f"{100 * self.least_share:g} % of it; a marked part of {self.least_ml:g} mL or more is false where it "
            "touches no true voxel"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """A true bleed: how much of it was marked, and the best score of the parts that mark it (0 for a miss)."""

    volume_ml: float
    covered_share: float
    hit: bool
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseMark:
    """A marked part where there is nothing."""

    volume_ml: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLesions:
    """The lesions of one scan, and the false marks in it."""

    lesions: tuple[Lesion, ...]
    false_marks: tuple[FalseMark, ...]


def match_lesions(
    answer: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    *,
    grid: MaskGrid,
    rule: HitRule,
    scores: npt.NDArray[np.floating] | None = None,
) -> ScanLesions:
    """Match the parts of two masks.

    A marked part's score is its greatest voxel score where `scores` are given (same shape), else its volume in mL.
    """
    marked, marks = ndimage.label(answer, np.ones((3, 3, 3)))
    true, lesions = ndimage.label(truth, np.ones((3, 3, 3)))
    mark_ml, lesion_ml = grid.volumes_ml(marked, marks), grid.volumes_ml(true, lesions)
    covered_ml = grid.volumes_ml(np.where(answer, true, 0), lesions)
    mark_score = (
        mark_ml
        if scores is None
        else np.concatenate(
            [[0.0], np.asarray(ndimage.maximum(scores, marked, np.arange(1, marks + 1)), dtype=np.float64).reshape(-1)]
        )
    )
    touching = [np.unique(marked[true == number]) for number in range(1, lesions + 1)]
    found = []
    for number, marks_here in enumerate(touching, start=1):
        volume_ml = float(lesion_ml[number])
        if volume_ml < rule.least_ml:
            continue
        share = float(covered_ml[number] / lesion_ml[number])
        hit = share >= rule.least_share - _ROUNDING and share > 0
        best = max((float(mark_score[mark]) for mark in marks_here if mark), default=0.0)
        found.append(Lesion(volume_ml=volume_ml, covered_share=share, hit=hit, score=best if hit else 0.0))
    touched = {int(mark) for marks_here in touching for mark in marks_here}
    false = tuple(
        FalseMark(volume_ml=float(mark_ml[mark]), score=float(mark_score[mark]))
        for mark in range(1, marks + 1)
        if mark not in touched and mark_ml[mark] >= rule.least_ml
    )
    return ScanLesions(lesions=tuple(found), false_marks=false)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSensitivity:
    """How many true lesions of [low, high) mL were hit."""

    low_ml: float
    high_ml: float
    lesions: int
    hit: int

    @property
    def sensitivity(self) -> float | None:
        """Share that was hit; None for none."""
        return self.hit / self.lesions if self.lesions else None


def sensitivity_by_size(scans: Iterable[ScanLesions]) -> tuple[SizeSensitivity, ...]:
    """Sort all lesions by their true volume."""
    every = [lesion for scan in scans for lesion in scan.lesions]
    return tuple(
        SizeSensitivity(
            low_ml=low,
            high_ml=high,
            lesions=sum(low <= lesion.volume_ml < high for lesion in every),
            hit=sum(low <= lesion.volume_ml < high and lesion.hit for lesion in every),
        )
        for low, high in itertools.pairwise(STRATA_ML)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Froc:
    """Free-response curve: sensitivity over lesions against false marks per scan, from strict to lenient."""

    false_per_scan: tuple[float, ...]
    sensitivity: tuple[float, ...]
    rates: tuple[float, ...]
    at_rates: tuple[float, ...]  # interpolated; beyond the last point the last sensitivity holds
    score: float  # mean of `at_rates`


def froc(scans: Sequence[ScanLesions], *, rates: tuple[float, ...] = FROC_RATES) -> Froc | None:
    """Sweep the score; None where there is no true lesion.

    Unlike MONAI's curve this one holds the most lenient point too, which is where masks without scores lie.
    """
    lesions = [lesion for scan in scans for lesion in scan.lesions]
    if not lesions:
        return None
    right = np.array([lesion.score for lesion in lesions if lesion.hit], dtype=np.float64)
    wrong = np.array([mark.score for scan in scans for mark in scan.false_marks], dtype=np.float64)
    thresholds = np.unique(np.concatenate([right, wrong]))[::-1]
    false_per_scan = [0.0, *(float((wrong >= limit).sum() / len(scans)) for limit in thresholds)]
    sensitivity = [0.0, *(float((right >= limit).sum() / len(lesions)) for limit in thresholds)]
    at_rates = np.interp(rates, false_per_scan, sensitivity)
    return Froc(
        false_per_scan=tuple(false_per_scan),
        sensitivity=tuple(sensitivity),
        rates=rates,
        at_rates=tuple(float(value) for value in at_rates),
        score=float(at_rates.mean()),
    )
