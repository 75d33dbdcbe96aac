"""Segmentation from slice labels alone, on the phantom benchmark: HGI-SAM beside GradCAM, one output beside six.

Two classifiers are trained on the slice labels of the benchmark's training part, one that is asked for any haemorrhage
and one that is also asked for the five subtypes. Each one's maps are drawn, every map with the threshold that was
chosen for it on the validation fold, and scored on the parts that nobody has seen, as `ichor evaluate` scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from console.benchmark.figures import PACKAGES, machine
from console.evaluation.model_run import run_model
from console.training.slice_gathering import gather_slices
from console.training.slice_task import TrainedMaps, add_map, train_maps
from console.training.task import ENTRY
from models.evaluation.evaluation import Evaluation, Question, evaluate, scoring_of
from models.evaluation.label_map import FOUR_CLASS, label_map_of
from models.evaluation.scan import blood_of, read_scan
from models.evaluation.slices import slice_dice
from models.networks.attention_maps import MAP_KINDS, MapKind
from models.registry import Registry
from models.training.data.catalogue import read_data
from models.training.recipe import DataRecipe
from models.training.slice_recipe import ClassifierRecipe, SliceRecipe, SliceTraining

if TYPE_CHECKING:
    from models.evaluation.pairing import Pairing
    from models.segmenter import Segmenter
    from models.spec import ModelSpec
    from models.training.data.case import DataSet

Progress = Callable[[float], None]

SMALL = ClassifierRecipe(
    spacing_zyx_mm=(5.0, 1.5, 1.5),
    side=120,
    hu_windows=((-20.0, 100.0), (-20.0, 180.0), (20.0, 80.0)),
    network_parameters={"patch": 3, "window": 5, "features": 16, "depths": [2, 2, 2, 2], "heads": [2, 2, 4, 8]},
)
"""A classifier for a processor: windows are an eighth of the side, as in Swin-B, and a token is 4.5 mm.

A narrow window of HU stands in the place of the bone's, which phantoms have no use for.
"""

STEPS, BATCH, LEARNING_RATE = 1500, 16, 4e-4
PARTS_SCORED = ("test", "shifted")
_TRAINING = 0.8  # share of the work
LEAST_ML = 5.0  # true volume from which the volume's relative error is of interest


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakRow:
    """One map of one classifier on one part of the benchmark."""

    labels: str  # "any", or "any and five subtypes"
    map: MapKind
    part: str
    threshold: float
    validation_dice: float  # that it was chosen by
    validation_auc: float | None  # of the classifier: planes with blood against planes without
    dice_slices: float | None  # mean over true slices with blood, as the papers count
    dice_heads: float | None  # mean over heads with blood
    dice_pooled: float | None
    volume_error: float | None  # median, of heads with 5 mL or more
    heads: int  # with blood
    false_alarms: int
    negatives: int
    seconds: float | None  # for a study


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakBenchmark:
    """The table, and where it comes from."""

    command: str
    machine: str
    versions: dict[str, str]
    parameters: int
    steps: int
    seeds: tuple[int, ...]
    rows: tuple[WeakRow, ...]


def recipe_for(
    bench: Path, *, subtypes: bool, steps: int, seeds: tuple[int, ...], classifier: ClassifierRecipe = SMALL
) -> SliceRecipe:
    """Return the recipe of one classifier."""
    return SliceRecipe(
        name="weak-six" if subtypes else "weak-any",
        classifier=classifier,
        data=(DataRecipe(path=bench / "train"),),
        subtypes=subtypes,
        seeds=seeds,
        training=SliceTraining(
            steps=steps, batch=BATCH, learning_rate=LEARNING_RATE, validate_every=max(1, steps // 10), threads=1
        ),
    )


def measure_weak(
    bench: Path,
    place: Path,
    *,
    steps: int = STEPS,
    seeds: tuple[int, ...] = (1,),
    classifier: ClassifierRecipe = SMALL,
    on_progress: Progress | None = None,
) -> WeakBenchmark:
    """Train on a benchmark's folder and score its other parts; go on in `place` where an earlier run stopped.

    The models stay in `place/models`, each map one that `ichor models add` takes.
    """

    def said(fraction: float) -> None:
        if on_progress is not None:
            on_progress(fraction)

    registry = Registry(place / "models")
    rows: list[WeakRow] = []
    parameters = 0
    for number, subtypes in enumerate((False, True)):
        recipe = recipe_for(bench, subtypes=subtypes, steps=steps, seeds=seeds, classifier=classifier)
        gathered = gather_slices(recipe, place / "cache")

        def on_training(fraction: float, number: int = number) -> None:
            said((number + _TRAINING * fraction) / 2)

        found = train_maps(recipe, gathered, place / recipe.name, MAP_KINDS, on_progress=on_training)
        parameters = found.trained[0].parameters
        for kind in MAP_KINDS:
            entry = add_map(_named(recipe, kind, registry), gathered, found, registry, place / ENTRY)
            segmenter = registry.load(entry.name, device=recipe.training.device, threads=recipe.training.threads)
            rows += [
                _score(recipe, kind, found, segmenter, bench / part, place / entry.name / part) for part in PARTS_SCORED
            ]
        said((number + 1) / 2)
    return WeakBenchmark(
        command=f"ichor benchmark weak OUT --steps {steps}",
        machine=machine(),
        versions={name: version(name) for name in PACKAGES},
        parameters=parameters,
        steps=steps,
        seeds=seeds,
        rows=tuple(rows),
    )


def _named(recipe: SliceRecipe, kind: MapKind, registry: Registry) -> SliceRecipe:
    """Return the recipe of one map, its name free in the benchmark's own registry."""
    named = replace(recipe, name=f"{recipe.name}-{kind}", map=kind)
    shutil.rmtree(registry.models_dir / named.name, ignore_errors=True)  # an earlier run's
    return named


def _score(
    recipe: SliceRecipe, kind: MapKind, found: TrainedMaps, segmenter: Segmenter, data: Path, out: Path
) -> WeakRow:
    """Run a map over a part that nobody has seen, and score it."""
    out.mkdir(parents=True, exist_ok=True)
    studies = read_data(data)
    pairing = run_model(studies, segmenter, out)
    question = _question(segmenter.spec, studies)
    evaluation = evaluate(pairing, question)
    threshold, summary = found.thresholds[kind], evaluation.summary
    aucs = [one.validation_auc for one in found.trained if one.validation_auc is not None]
    return WeakRow(
        labels="any and five subtypes" if recipe.subtypes else "any",
        map=kind,
        part=data.name,
        threshold=threshold.value,
        validation_dice=threshold.dice,
        validation_auc=float(np.mean(aucs)) if aucs else None,
        dice_slices=_dice_slices(pairing, question),
        dice_heads=summary.classes[0].dice_positives,
        dice_pooled=summary.classes[0].dice_pooled,
        volume_error=_volume_error(evaluation),
        heads=summary.classes[0].positives,
        false_alarms=_false_alarms(evaluation),
        negatives=summary.alarms.negatives,
        seconds=summary.seconds_median,
    )


def _question(spec: ModelSpec, data: DataSet) -> Question:
    return Question(system=spec.name, data=data.name, truth_map=FOUR_CLASS, answer_map=label_map_of(spec))


def _dice_slices(pairing: Pairing, question: Question) -> float | None:
    scoring = scoring_of(question)
    values = [value for pair in pairing.pairs for value in slice_dice(*blood_of(read_scan(pair, scoring), scoring))]
    return float(np.mean(values)) if values else None


def _false_alarms(evaluation: Evaluation) -> int:
    least_ml = evaluation.summary.alarms.threshold_ml
    return sum(scan.any.answer_ml >= least_ml for scan in evaluation.scans if not scan.any.truth_ml)


def _volume_error(evaluation: Evaluation) -> float | None:
    errors = [
        abs(scan.any.relative_difference)
        for scan in evaluation.scans
        if scan.any.truth_ml >= LEAST_ML and scan.any.relative_difference is not None
    ]
    return float(np.median(errors)) if errors else None
