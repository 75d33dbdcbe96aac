"""One system on one data set: every scan, what could not be scored, and the sum; read and written as JSON.

Infinite distances are written as "Infinity", figures that do not exist as null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ichor.errors import PermanentError
from models.evaluation.exam import ALARM_ML
from models.evaluation.grid import MaskGrid
from models.evaluation.label_map import BINARY, LabelMap, compared_classes, unlike_subtypes
from models.evaluation.lesions import HitRule
from models.evaluation.mask_file import BadMask
from models.evaluation.pairing import Fault, Pair, Pairing
from models.evaluation.provenance import Provenance, leaks
from models.evaluation.scan import ScanFigures, Scoring, blood_of, read_said, read_scan, score_scan
from models.evaluation.summary import Summary, summarise

Abc2 = Callable[[npt.NDArray[np.bool_], MaskGrid], float | None]

CONVENTIONS = {
    "dice_positives": "mean over scans that truly hold the class",
    "dice_all": "mean over all scans; 1 where neither mask holds the class (INSTANCE 2022)",
    "dice_none_left_out": "mean over scans where either mask holds the class (MONAI, ignore_empty)",
    "dice_pooled": "of all scans' voxels together",
    "mean_iou": "over the finest classes in either mask; background left out",
    "hd": "greatest surface distance in mm, hd95 the greater of both directions' 95th percentiles; infinite where one "
    "mask is empty, and counted",
    "nsd": "surface share within 0.42 mm (INSTANCE 2022); none on sheared grids and uneven slices",
    "icc": "Shrout and Fleiss 1979; two_way_random is ICC(2,1), the one to report",
    "auc": "over exams, by probability where every scan states one, else by marked volume; 95 % bootstrap interval",
    "grid": "scored on the truth's own grid; volumes by the affine's determinant, or where slices lie at uneven "
    "distances by each slice's own share",
    "against_abc2": "over scans with a single bleed: the answer's error, and that of the truth's own ABC/2 "
    "(Kothari 1996)",
    "oedema": "never scored",
}


class NothingToEvaluate(PermanentError):
    """No scan could be scored."""

    code = "nothing_to_evaluate"


class BadEvaluation(PermanentError):
    """The file is no evaluation."""

    code = "bad_evaluation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of `ichor evaluate`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings", extra="forbid")

    schema: Literal[1] = 1
    kind: Literal["evaluation"] = "evaluation"
    system: str
    data: str
    truth_labels: str
    answer_labels: str
    hit_rule: str
    conventions: dict[str, str]
    notes: tuple[str, ...]
    provenance: Provenance | None = None  # None: not known
    scans: tuple[ScanFigures, ...]
    faults: tuple[Fault, ...]
    summary: Summary

    def to_json(self) -> str:
        """Return the evaluation as JSON."""
        return _adapter().dump_json(self, indent=1).decode() + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is evaluated: names for people, and what the numbers in the masks mean."""

    system: str
    data: str
    truth_map: LabelMap = BINARY
    answer_map: LabelMap = BINARY
    segment_values: Mapping[str, int] | None = None  # None: the label maps' own names
    truth_segment_values: Mapping[str, int] | None = None
    alarm_ml: float = ALARM_ML
    notes: tuple[str, ...] = ()
    provenance: Provenance | None = None


def scoring_of(question: Question) -> Scoring:
    """Return how the question's scans are scored."""
    return Scoring(
        truth_map=question.truth_map,
        answer_map=question.answer_map,
        classes=compared_classes(question.truth_map, question.answer_map),
        rule=HitRule(),
        segment_values=question.segment_values or {name: value for value, name in question.answer_map.classes},
        truth_segment_values=question.truth_segment_values
        or {name: value for value, name in question.truth_map.classes},
    )


def evaluate(
    pairing: Pairing,
    question: Question,
    *,
    on_progress: Callable[[float], None] | None = None,
    abc2_of: Abc2 | None = None,
) -> Evaluation:
    """Score all pairs; one that cannot be scored becomes a fault. Raises NothingToEvaluate where none is left.

    `abc2_of` measures the ABC/2 in mL of a true mask, None where there is none to measure.
    """
    scoring = scoring_of(question)
    scans, faults = [], list(pairing.faults)
    for number, pair in enumerate(pairing.pairs, start=1):
        found = _score(pair, scoring, abc2_of)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            scans.append(found)
        if on_progress is not None:
            on_progress(number / len(pairing.pairs))
    if not scans:
        why = faults[0].text if faults else "neither folder holds a mask."
        raise NothingToEvaluate(f"No scan could be scored: {why}")
    return Evaluation(
        system=question.system,
        data=question.data,
        truth_labels=question.truth_map.name,
        answer_labels=question.answer_map.name,
        hit_rule=str(scoring.rule),
        conventions=CONVENTIONS,
        notes=(*question.notes, *_notes(question, scans)),
        provenance=question.provenance,
        scans=tuple(scans),
        faults=tuple(faults),
        summary=summarise(scans, alarm_ml=question.alarm_ml),
    )


def load_evaluation(path: Path) -> Evaluation:
    """Read an evaluation from JSON; raise BadEvaluation where it is none."""
    try:
        return _adapter().validate_json(path.read_bytes())
    except OSError as error:
        raise BadEvaluation(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise BadEvaluation(f"{path} is no evaluation as `ichor evaluate --json` writes it.") from error


def _score(pair: Pair, scoring: Scoring, abc2_of: Abc2 | None) -> ScanFigures | Fault:
    try:
        masks = read_scan(pair, scoring)
        figures = score_scan(pair.name, masks, scoring, read_said(pair))
    except BadMask as error:
        text = str(error)
        return Fault(name=pair.name, code=error.code, text=text if pair.name in text else f"{pair.name}: {text}")
    if abc2_of is None:
        return figures
    return replace(figures, abc2_ml=abc2_of(blood_of(masks, scoring)[1], masks.truth.grid))


def _notes(question: Question, scans: list[ScanFigures]) -> tuple[str, ...]:
    notes = [] if question.provenance is None else list(leaks(question.system, question.provenance))
    unlike = unlike_subtypes(question.truth_map, question.answer_map)
    if unlike:
        notes.append(f'Only one side marks {", ".join(sorted(unlike))}: "any" compares unlike things.')
    sheared = [scan.name for scan in scans if scan.sheared]
    if sheared:
        notes.append(
            f"Sheared grid (tilted gantry): {_named(sheared)}. Volumes and distances are right, NSD is left out."
        )
    uneven = [scan.name for scan in scans if scan.uneven]
    if uneven:
        notes.append(f"Slices at uneven distances: {_named(uneven)}. Each counts by its own share; NSD is left out.")
    return tuple(notes)


def _named(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Evaluation]:
    return TypeAdapter(Evaluation)
