"""How many labels a network needs, and what each pre-training saves: a training for each share and kind, one test set.

Every training has the same steps, seeds, split and validation; a pre-training's own steps come on top, and look at all
training patients, of whom it sees no mask but, in the two classifications, what is on each slice. A training that is
done, or was begun, is not begun again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from console.benchmark.figures import benchmark
from console.evaluation.task import ModelOnData, Ways, evaluate_model
from console.training.gathering import gather
from console.training.task import train_model
from models.evaluation.evaluation import Evaluation, load_evaluation
from models.registry import MANIFEST_FILE, Registry
from models.training.recipe import PretrainingRecipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ichor.settings import Settings
    from models.training.recipe import Pretraining, Recipe

FRACTIONS = (0.05, 0.1, 0.25, 1.0)
SCRATCH = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One model on the test set; Dice is of any haemorrhage."""

    pretraining: str
    fraction: float
    scans: int  # with masks that it was trained on
    validation_dice: float | None  # mean over seeds
    dice_heads: float | None  # mean over heads with blood
    dice_pooled: float | None
    rmse_ml: float | None  # of the volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCurve:
    """The table, and what it was measured with."""

    command: str
    machine: str
    versions: dict[str, str]
    seeds: tuple[int, ...]
    steps: int
    pretraining_steps: int | None
    test: str
    rows: tuple[LabelRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTask:
    """What is compared, on which data, and where it is kept."""

    recipe: Recipe
    test: Path
    place: Path
    fractions: Sequence[float] = FRACTIONS
    kinds: Sequence[Pretraining] = ()  # beside none


def measure_labels(
    task: LabelTask, settings: Settings, *, on_progress: Callable[[float], None] | None = None
) -> LabelCurve:
    """Train and score every pair of a kind and a share; raises what training and evaluation raise."""
    settings = settings.model_copy(update={"models_dir": task.place / "models"})
    pairs = [(kind, fraction) for fraction in task.fractions for kind in (None, *task.kinds)]
    rows = []
    for number, (kind, fraction) in enumerate(pairs):
        rows.append(_row(task, settings, kind, fraction))
        if on_progress is not None:
            on_progress((number + 1) / len(pairs))
    kinds = "".join(f" --pretraining {kind}" for kind in task.kinds)
    fractions = "".join(f" --fraction {fraction:g}" for fraction in task.fractions)
    measured = benchmark("", f"ichor benchmark labels CONFIG OUT --test {task.test.name}{fractions}{kinds}", ())
    before = _before(task.recipe, task.kinds[0]) if task.kinds else None
    return LabelCurve(
        command=measured.command,
        machine=measured.machine,
        versions=measured.versions,
        seeds=task.recipe.seeds,
        steps=task.recipe.training.steps,
        pretraining_steps=None if before is None else before.steps,
        test=task.test.name,
        rows=tuple(rows),
    )


def _row(task: LabelTask, settings: Settings, kind: Pretraining | None, fraction: float) -> LabelRow:
    called = SCRATCH if kind is None else kind
    name = f"labels-{called}-{fraction:g}"
    recipe = replace(
        task.recipe,
        name=name,
        split=replace(task.recipe.split, label_fraction=fraction),
        pretraining=None if kind is None else _before(task.recipe, kind),
    )
    registry = Registry(task.place / "models")
    gathered = gather(recipe, task.place / "cache")
    if name not in registry.names():
        train_model(recipe, gathered, registry, task.place / name, pretrained_in=task.place / f"pretraining-{called}")
    stated = json.loads((registry.models_dir / name / MANIFEST_FILE).read_text(encoding="utf-8"))
    validation = [one["validation_dice"] for one in stated["seeds"] if one["validation_dice"] is not None]
    summary = _scored(task, settings, name).summary.classes[0]
    return LabelRow(
        pretraining=called,
        fraction=fraction,
        scans=len(gathered.heads.training),
        validation_dice=mean(validation) if validation else None,
        dice_heads=summary.dice_positives,
        dice_pooled=summary.dice_pooled,
        rmse_ml=summary.rmse_ml,
    )


def _scored(task: LabelTask, settings: Settings, name: str) -> Evaluation:
    path = task.place / f"{name}.json"
    if path.is_file():
        return load_evaluation(path)
    evaluation = evaluate_model(ModelOnData(model=name, data=task.test), Ways(settings=settings))
    path.write_text(evaluation.to_json(), encoding="utf-8")
    return evaluation


def _before(recipe: Recipe, kind: Pretraining) -> PretrainingRecipe:
    """Return the recipe's pre-training as another kind, or the kind as it is where the recipe has none."""
    own = recipe.pretraining
    return PretrainingRecipe(kind=kind) if own is None else PretrainingRecipe(**{**asdict(own), "kind": kind})
