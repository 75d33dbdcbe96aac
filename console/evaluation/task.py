"""What is to be evaluated, from a command line: two folders, or a model over a data set."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from console.evaluation.abc2 import truth_abc2_ml
from console.evaluation.labels import LabelChoice, choose_labels, labels_of
from console.evaluation.model_run import Cleaning, run_model
from console.evaluation.provenance import provenance_of
from console.evaluation.report import draw_worst, write_report
from ichor.settings import Settings
from models.evaluation.cleaning import claim, tenth
from models.evaluation.evaluation import Evaluation, Question, evaluate, scoring_of
from models.evaluation.exam import ALARM_ML
from models.evaluation.pairing import Pairing, find_images, pair_masks
from models.evaluation.views import Mirrored, TinyLesions
from models.registry import default_registry
from models.segmenter import Segmenter
from models.training.data.case import DataSet
from models.training.data.catalogue import read_data

Progress = Callable[[float], None]

_VIEWS: Mapping[str, Callable[[Segmenter], Segmenter]] = {"mirror": Mirrored, "tiny-lesions": TinyLesions}
_CLEANINGS: Mapping[str, Cleaning] = {"claim": claim, "tenth": tenth}
EXTRAS = (*_VIEWS, *_CLEANINGS)
"""What is measured in a row of its own, never as the model's own figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where truth, answers and, for pictures, CTs lie."""

    truth: Path
    answer: Path
    images: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOnData:
    """A model of the registry, and a data set; `reader` names the kind of data set where its layout does not."""

    model: str
    data: Path
    reader: str | None = None
    members: int | None = None
    keep: Path | None = None  # where the answers are kept
    extras: tuple[str, ...] = ()  # of EXTRAS: beside the model itself, and in its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How it is done."""

    settings: Settings
    label_maps: tuple[str, ...] = ()
    alarm_ml: float = ALARM_ML
    html: Path | None = None


def evaluate_folders(folders: Folders, ways: Ways, on_progress: Progress | None = None) -> Evaluation:
    """Score a folder of answers against a folder of truths."""
    labels = choose_labels(ways.label_maps, ways.settings)
    images = {} if folders.images is None else find_images(folders.images)
    question = _question(labels, system=folders.answer.resolve().name, data=folders.truth.resolve().name, ways=ways)
    return _finish(pair_masks(folders.truth, folders.answer), question, ways, images, on_progress)


def evaluate_model(task: ModelOnData, ways: Ways, on_progress: Progress | None = None) -> Evaluation:
    """Run a model over a data set and score its answers; the data set's terms stand in the notes."""
    settings = ways.settings
    registry = default_registry(settings.resolved_models_dir, os.environ)
    spec = registry.spec(task.model)
    chosen = choose_labels(ways.label_maps, settings)
    data = read_data(task.data, name=task.reader, label_map=chosen.truth if ways.label_maps else None)
    with ExitStack() as stack:
        out = task.keep
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ichor-evaluate-")))
        out.mkdir(parents=True, exist_ok=True)
        segmenter = registry.load(
            task.model,
            members=settings.analysis.members if task.members is None else task.members,
            device=settings.analysis.device,
            precision=settings.analysis.precision,
            threads=settings.analysis.threads,
        )
        for extra in task.extras:
            segmenter = _VIEWS[extra](segmenter) if extra in _VIEWS else segmenter
        cleanings = [_CLEANINGS[extra] for extra in task.extras if extra in _CLEANINGS]
        for clean in cleanings:
            clean(np.zeros((1, 1, 1), dtype=np.uint8), spec.labels)  # refused now, not scan by scan
        pairing = run_model(data, segmenter, out, cleanings=cleanings, on_progress=on_progress)
        of_model = labels_of(spec)
        labels = LabelChoice(
            truth=chosen.truth if data.label_map is None else data.label_map,
            answer=of_model.answer,
            segment_values=of_model.segment_values,
            truth_segment_values=chosen.truth_segment_values,
        )
        system = " + ".join((task.model, *task.extras))
        question = replace(
            _question(labels, system=system, data=data.name, ways=ways, notes=_notes(data)),
            provenance=provenance_of(
                registry.manifest(task.model), data, members=len(segmenter.plan.members), extras=task.extras
            ),
        )
        images = {case.name: case.image for case in data.cases if case.image is not None}
        return _finish(pairing, question, ways, images, on_progress)


def _question(labels: LabelChoice, *, system: str, data: str, ways: Ways, notes: tuple[str, ...] = ()) -> Question:
    return Question(
        system=system,
        data=data,
        truth_map=labels.truth,
        answer_map=labels.answer,
        segment_values=labels.segment_values,
        truth_segment_values=labels.truth_segment_values,
        alarm_ml=ways.alarm_ml,
        notes=notes,
    )


def _notes(data: DataSet) -> tuple[str, ...]:
    return (f"Terms of {data.name}: {data.licence.name} ({data.licence.terms}).", *data.notes)


def _finish(
    pairing: Pairing, question: Question, ways: Ways, images: dict[str, Path], on_progress: Progress | None
) -> Evaluation:
    evaluation = evaluate(pairing, question, on_progress=on_progress, abc2_of=truth_abc2_ml)
    if ways.html is not None:
        worst = draw_worst(evaluation, pairing.pairs, scoring_of(question), images)
        write_report(ways.html, evaluation, worst)
    return evaluation
