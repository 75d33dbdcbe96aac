"""All figures of one scan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from models.evaluation.confusion import Confusion, confusion_of, finest
from models.evaluation.grid import MaskGrid
from models.evaluation.label_map import ComparedClass, LabelMap
from models.evaluation.lesions import HitRule, ScanLesions, match_lesions
from models.evaluation.mask_file import BadMask, LabelMask, read_mask, read_seg
from models.evaluation.overlap import Overlap, mean_iou, overlap_of
from models.evaluation.pairing import Pair
from models.evaluation.raters import RaterFigures, rater_figures
from models.evaluation.surface import surface_figures
from models.evaluation.volume import relative_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class in one scan; None where a figure does not exist, infinite distances where one mask is empty."""

    name: str
    truth_ml: float
    answer_ml: float
    overlap: Overlap
    dice: float | None  # None where neither mask holds the class
    dice_empty_one: float  # 1 there, as INSTANCE 2022 counts
    iou: float | None
    hd_mm: float | None
    hd95_mm: float | None
    nsd: float | None
    relative_difference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFigures:
    """One scan; `classes` has "any" first."""

    name: str
    sheared: bool
    uneven: bool = False  # slices lie at uneven distances, and `spacing_mm` is their mean
    spacing_mm: tuple[float, float, float]
    classes: tuple[ClassFigures, ...]
    mean_iou: float | None  # over the finest classes in either mask, background left out
    lesions: ScanLesions
    confusion: Confusion
    raters: RaterFigures | None = None
    probability: float | None = None  # that there is any blood, where the system says so
    seconds: float | None = None
    abc2_ml: float | None = None  # of the truth, where it is a single bleed and somebody measured it

    @property
    def any(self) -> ClassFigures:
        """The figures of any haemorrhage."""
        return self.classes[0]

    @property
    def score(self) -> float:
        """What exams are ranked by: the probability where there is one, else the volume marked."""
        return self.any.answer_ml if self.probability is None else self.probability


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanMasks:
    """Truth and answer of one scan on one grid."""

    truth: LabelMask
    answer: LabelMask
    raters: tuple[LabelMask, ...]
    answer_raters: tuple[LabelMask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How scans are scored."""

    truth_map: LabelMap
    answer_map: LabelMap
    classes: tuple[ComparedClass, ...]
    rule: HitRule
    segment_values: Mapping[str, int] = field(default_factory=dict)  # of an answer's segments in a DICOM SEG, by label
    truth_segment_values: Mapping[str, int] = field(default_factory=dict)


def read_scan(pair: Pair, scoring: Scoring) -> ScanMasks:
    """Read the masks of a pair; raise BadMask, naming the scan, where they do not belong together.

    A truth that is a DICOM SEG is read onto the answer's grid, which is then the scan's own.
    """
    raters = tuple(_placed(read_mask(path), pair.image) for path in pair.truth.raters)
    truth = majority(pair.name, raters) if pair.truth.mask is None else _truth(pair.truth.mask, pair, scoring)
    answers = tuple(_answer(path, truth.grid, scoring) for path in pair.answer.raters)
    if pair.answer.none_marked:
        answer = LabelMask(labels_ijk=np.zeros(truth.grid.shape, dtype=np.uint8), grid=truth.grid)
    elif pair.answer.mask is not None:
        answer = _answer(pair.answer.mask, truth.grid, scoring)
    else:
        answer = majority(pair.name, answers)
    _check(pair.name, "truth", truth, truth.grid, scoring.truth_map)
    for number, rater in enumerate(raters, start=1):
        _check(pair.name, f"rater {number}", rater, truth.grid, scoring.truth_map)
    for one in (answer, *answers):
        _check(pair.name, "answer", one, truth.grid, scoring.answer_map)
    if pair.slices is not None:
        truth = replace(truth, grid=replace(truth.grid, slices=pair.slices))
    return ScanMasks(truth=truth, answer=answer, raters=raters, answer_raters=answers)


def score_scan(name: str, masks: ScanMasks, scoring: Scoring, said: dict[str, float] | None = None) -> ScanFigures:
    """Work out all figures of a scan; `said` may hold the system's `probability` and `seconds`."""
    grid = masks.truth.grid
    figures = tuple(_score_class(one, masks, grid) for one in scoring.classes)
    singles = {one.name for one in finest(scoring.classes)}
    answer, truth = _masks_of(scoring.classes[0], masks)
    several = len(masks.raters) > 1 or len(masks.answer_raters) > 1
    said = said or {}
    return ScanFigures(
        name=name,
        sheared=grid.sheared,
        uneven=grid.slices is not None,
        spacing_mm=grid.spacing_mm,
        classes=figures,
        mean_iou=mean_iou(one.overlap for one in figures if one.name in singles),
        lesions=match_lesions(answer, truth, grid=grid, rule=scoring.rule),
        confusion=confusion_of(masks.answer.labels_ijk, masks.truth.labels_ijk, scoring.classes, grid=grid),
        raters=_score_raters(masks, scoring.classes[0]) if several else None,
        probability=said.get("probability"),
        seconds=said.get("seconds"),
    )


def read_said(pair: Pair) -> dict[str, float]:
    """Read `NAME.json` beside an answer, in which a system may state `probability` and `seconds`; {} for none."""
    if pair.answer.mask is None:
        return {}
    stem = pair.answer.mask.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".dcm")
    path = pair.answer.mask.with_name(f"{stem}.json")
    if not path.is_file():
        return {}
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadMask(f"{path.name} is not JSON.") from error
    if not isinstance(stated, dict):
        raise BadMask(f"{path.name} is no JSON object.")
    found = {key: stated[key] for key in ("probability", "seconds") if isinstance(stated.get(key), int | float)}
    if not 0 <= found.get("probability", 0) <= 1:
        raise BadMask(f"{path.name} states a probability that is not between 0 and 1.")
    return found


def blood_of(masks: ScanMasks, scoring: Scoring) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where the answer and the truth mark any haemorrhage."""
    return _masks_of(scoring.classes[0], masks)


def _answer(path: Path, grid: MaskGrid, scoring: Scoring) -> LabelMask:
    if path.suffix == ".dcm":
        return read_seg(path, grid, scoring.segment_values)
    return read_mask(path)


def _truth(path: Path, pair: Pair, scoring: Scoring) -> LabelMask:
    if path.suffix != ".dcm":
        return _placed(read_mask(path), pair.image)
    if pair.answer.mask is None or pair.answer.mask.suffix == ".dcm":
        raise BadMask(f"{pair.name}: a DICOM SEG as truth needs an answer as NIfTI.")
    return read_seg(path, read_mask(pair.answer.mask).grid, scoring.truth_segment_values)


def _placed(mask: LabelMask, image: Path | None) -> LabelMask:
    """Put a mask where its scan lies, for some sets' masks have other headers than their scans."""
    if image is None:
        return mask
    held: Any = nib.load(image)
    if tuple(held.shape[:3]) != mask.grid.shape:
        return mask  # the answer's shape will differ too, and be named
    grid = MaskGrid(shape=mask.grid.shape, affine_ras=np.asarray(held.affine, dtype=np.float64))
    return LabelMask(labels_ijk=mask.labels_ijk, grid=grid)


def _check(name: str, what: str, mask: LabelMask, grid: MaskGrid, label_map: LabelMap) -> None:
    if mask.grid.shape != grid.shape:
        raise BadMask(f"{name}: the {what} has the shape {mask.grid.shape}, the truth {grid.shape}.")
    if not mask.grid.lies_with(grid):
        raise BadMask(f"{name}: the {what} has the truth's shape but lies elsewhere (its affine differs).")
    unknown = sorted(set(np.unique(mask.labels_ijk).tolist()) - label_map.values - {0})
    if unknown:
        raise BadMask(f"{name}: the {what} holds the value {unknown[0]}, which {label_map.name!r} does not know.")


def majority(name: str, raters: tuple[LabelMask, ...]) -> LabelMask:
    """Return each voxel's commonest label; of equally common ones the smallest, so that doubt is background."""
    if any(one.grid.shape != raters[0].grid.shape for one in raters):
        raise BadMask(f"{name}: the raters' masks have different shapes.")
    stack = np.stack([one.labels_ijk for one in raters])
    values = np.unique(stack)
    votes = np.stack([(stack == value).sum(axis=0) for value in values])
    return LabelMask(labels_ijk=values[votes.argmax(axis=0)], grid=raters[0].grid)


def _masks_of(one: ComparedClass, masks: ScanMasks) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    return (
        np.isin(masks.answer.labels_ijk, list(one.answer_values)),
        np.isin(masks.truth.labels_ijk, list(one.truth_values)),
    )


def _score_class(one: ComparedClass, masks: ScanMasks, grid: MaskGrid) -> ClassFigures:
    answer, truth = _masks_of(one, masks)
    overlap = overlap_of(answer, truth)
    surface = surface_figures(answer, truth, grid)
    truth_ml, answer_ml = grid.volume_ml(truth), grid.volume_ml(answer)
    return ClassFigures(
        name=one.name,
        truth_ml=truth_ml,
        answer_ml=answer_ml,
        overlap=overlap,
        dice=overlap.dice(empty="none"),
        dice_empty_one=overlap.dice(empty="one"),
        iou=overlap.iou(empty="none"),
        hd_mm=surface.hd_mm,
        hd95_mm=surface.hd95_mm,
        nsd=surface.nsd,
        relative_difference=relative_difference(answer_ml, truth_ml),
    )


def _score_raters(masks: ScanMasks, blood: ComparedClass) -> RaterFigures:
    answers = masks.answer_raters or (masks.answer,)
    raters = masks.raters or (masks.truth,)
    return rater_figures(
        [np.isin(one.labels_ijk, list(blood.answer_values)) for one in answers],
        [np.isin(one.labels_ijk, list(blood.truth_values)) for one in raters],
    )
