"""All scans together: means, medians, agreement of volumes, exams, lesions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.calibration import Calibration, calibration
from models.evaluation.confusion import Confusion, add_confusions
from models.evaluation.exam import Alarms, Auc, alarms, auc_interval
from models.evaluation.lesions import Froc, SizeSensitivity, froc, sensitivity_by_size
from models.evaluation.overlap import Overlap
from models.evaluation.scan import ClassFigures, ScanFigures
from models.evaluation.volume import (
    BlandAltman,
    Icc,
    StratumError,
    bland_altman,
    concordance,
    error_by_size,
    intraclass_correlation,
    root_mean_square_error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """A surface distance over the scans that have one; infinite ones are counted and make the mean infinite."""

    scans: int
    infinite: int
    mean_mm: float | None
    mean_finite_mm: float | None
    median_mm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSummary:
    """One class over all scans."""

    name: str
    scans: int
    positives: int  # scans that truly hold it
    dice_positives: float | None  # mean over those
    dice_positives_median: float | None
    dice_all: float | None  # mean over all scans, 1 where neither mask holds it (INSTANCE 2022)
    dice_none_left_out: float | None  # mean over scans where either mask holds it (MONAI)
    dice_pooled: float | None  # of all scans' voxels together
    iou_positives: float | None
    hd: Distances
    hd95: Distances
    nsd: float | None
    relative_difference: float | None  # mean over positives, with sign
    relative_difference_absolute: float | None
    icc: Icc | None
    bland_altman: BlandAltman | None
    concordance: float | None
    rmse_ml: float | None
    error_by_size: tuple[StratumError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterSummary:
    """Means over the scans that several people marked."""

    scans: int
    ged: float
    dice_max: float
    dice_match: float
    dice_soft: float
    ceiling: float | None
    ceiling_max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abc2Errors:
    """Errors of the answer's volume and of the truth's own ABC/2, over the scans that have an ABC/2."""

    answer: tuple[StratumError, ...]
    abc2: tuple[StratumError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Everything over all scans; exams, lesions and alarms are about any haemorrhage."""

    scans: int
    classes: tuple[ClassSummary, ...]
    mean_iou: float | None  # mean over scans of the mean over classes, background left out
    auc: Auc | None
    alarms: Alarms
    lesions_by_size: tuple[SizeSensitivity, ...]
    froc: Froc | None
    calibration: Calibration | None  # of the exams' probabilities, where the system states them
    confusion: Confusion | None
    raters: RaterSummary | None
    seconds_median: float | None
    against_abc2: Abc2Errors | None = None


def summarise(scans: Sequence[ScanFigures], *, alarm_ml: float) -> Summary:
    """Sum up scans that were scored alike; there must be one at least."""
    bled = [scan.any.truth_ml > 0 for scan in scans]
    stated = [
        (scan.probability, truth) for scan, truth in zip(scans, bled, strict=True) if scan.probability is not None
    ]
    complete = len(stated) == len(scans)  # scores of two kinds cannot be ranked together
    scores = [scan.score if complete else scan.any.answer_ml for scan in scans]
    seconds = [scan.seconds for scan in scans if scan.seconds is not None]
    return Summary(
        scans=len(scans),
        classes=tuple(_summarise_class([scan.classes[n] for scan in scans]) for n in range(len(scans[0].classes))),
        mean_iou=_mean([scan.mean_iou for scan in scans]),
        auc=auc_interval(scores, bled),
        alarms=alarms([scan.any.answer_ml for scan in scans], bled, threshold_ml=alarm_ml),
        lesions_by_size=sensitivity_by_size(scan.lesions for scan in scans),
        froc=froc([scan.lesions for scan in scans]),
        calibration=calibration([said for said, _ in stated], [truth for _, truth in stated]) if complete else None,
        confusion=add_confusions(scan.confusion for scan in scans),
        raters=_summarise_raters(scans),
        seconds_median=float(np.median(seconds)) if seconds else None,
        against_abc2=_against_abc2(scans),
    )


def _summarise_class(of_scans: Sequence[ClassFigures]) -> ClassSummary:
    positives = [one for one in of_scans if one.truth_ml > 0]
    said, true = [one.answer_ml for one in of_scans], [one.truth_ml for one in of_scans]
    dice = [one.dice for one in positives if one.dice is not None]
    relative = [one.relative_difference for one in positives if one.relative_difference is not None]
    return ClassSummary(
        name=of_scans[0].name,
        scans=len(of_scans),
        positives=len(positives),
        dice_positives=_mean(dice),
        dice_positives_median=float(np.median(dice)) if dice else None,
        dice_all=_mean([one.dice_empty_one for one in of_scans]),
        dice_none_left_out=_mean([one.dice for one in of_scans]),
        dice_pooled=sum((one.overlap for one in of_scans), Overlap(both=0, truth_only=0, answer_only=0)).dice(
            empty="none"
        ),
        iou_positives=_mean([one.iou for one in positives]),
        hd=_distances([one.hd_mm for one in of_scans]),
        hd95=_distances([one.hd95_mm for one in of_scans]),
        nsd=_mean([one.nsd for one in of_scans]),
        relative_difference=_mean(relative),
        relative_difference_absolute=_mean([abs(value) for value in relative]),
        icc=intraclass_correlation(list(zip(said, true, strict=True))),
        bland_altman=bland_altman(said, true),
        concordance=concordance(said, true),
        rmse_ml=root_mean_square_error(said, true),
        error_by_size=error_by_size(said, true),
    )


def _against_abc2(scans: Sequence[ScanFigures]) -> Abc2Errors | None:
    held = [(scan.any.truth_ml, scan.any.answer_ml, scan.abc2_ml) for scan in scans if scan.abc2_ml is not None]
    if not held:
        return None
    truth = [true for true, _, _ in held]
    return Abc2Errors(
        answer=error_by_size([answer for _, answer, _ in held], truth),
        abc2=error_by_size([abc2 for _, _, abc2 in held], truth),
    )


def _summarise_raters(scans: Sequence[ScanFigures]) -> RaterSummary | None:
    found = [scan.raters for scan in scans if scan.raters is not None]
    if not found:
        return None
    return RaterSummary(
        scans=len(found),
        ged=float(np.mean([one.ged for one in found])),
        dice_max=float(np.mean([one.dice_max for one in found])),
        dice_match=float(np.mean([one.dice_match for one in found])),
        dice_soft=float(np.mean([one.dice_soft for one in found])),
        ceiling=_mean([one.ceiling for one in found]),
        ceiling_max=_mean([one.ceiling_max for one in found]),
    )


def _distances(values: Sequence[float | None]) -> Distances:
    there = [value for value in values if value is not None]
    finite = [value for value in there if math.isfinite(value)]
    return Distances(
        scans=len(there),
        infinite=len(there) - len(finite),
        mean_mm=float(np.mean(there)) if there else None,
        mean_finite_mm=float(np.mean(finite)) if finite else None,
        median_mm=float(np.median(there)) if there else None,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
