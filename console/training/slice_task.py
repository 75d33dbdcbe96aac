"""`ichor train` on slice labels: a classifier for each seed, a threshold, and an entry of the registry."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.training.checkout import running_commit
from console.training.task import ENTRY, Outcome, check_name, manifest_of
from models.adding.install import add_model
from models.training.manifest import Manifest, SeedRecord
from models.training.map_threshold import ChosenThreshold, choose_thresholds
from models.training.slice_entry import write_slice_entry
from models.training.slice_trainer import TrainedClassifier, train_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from console.training.slice_gathering import GatheredSlices
    from models.networks.attention_maps import MapKind
    from models.registry import Registry
    from models.spec import ModelSpec
    from models.training.slice_recipe import SliceRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedMaps:
    """The classifiers of a recipe, the code that trained them, and the threshold of every map that was asked for."""

    commit: str | None
    trained: tuple[TrainedClassifier, ...]
    thresholds: Mapping[MapKind, ChosenThreshold]


def train_slice_model(
    recipe: SliceRecipe,
    gathered: GatheredSlices,
    registry: Registry,
    out: Path,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Train every seed in a folder of `out`, and add the recipe's map to the registry."""
    check_name(recipe, registry)
    found = train_maps(recipe, gathered, out, [recipe.map], on_progress=on_progress)
    return Outcome(
        spec=add_map(recipe, gathered, found, registry, out / ENTRY),
        manifest=_manifest(recipe, gathered, found),
    )


def train_maps(
    recipe: SliceRecipe,
    gathered: GatheredSlices,
    out: Path,
    kinds: Sequence[MapKind],
    *,
    on_progress: Callable[[float], None] | None = None,
) -> TrainedMaps:
    """Train every seed, going on where an earlier run stopped, and choose each map's threshold."""
    commit = running_commit()
    trained = []
    for number, seed in enumerate(recipe.seeds):

        def on_seed(fraction: float, number: int = number) -> None:
            if on_progress is not None:
                on_progress((number + fraction) / len(recipe.seeds))

        trained.append(train_classifier(recipe, seed, gathered.heads, out / f"seed-{seed}", on_progress=on_seed))
    classifiers = [one.classifier(recipe) for one in trained]
    thresholds = choose_thresholds(recipe, classifiers, gathered.heads.threshold, kinds)
    return TrainedMaps(commit=commit, trained=tuple(trained), thresholds=thresholds)


def add_map(
    recipe: SliceRecipe, gathered: GatheredSlices, found: TrainedMaps, registry: Registry, folder: Path
) -> ModelSpec:
    """Write the recipe's map as an entry and add it to the registry."""
    shutil.rmtree(folder, ignore_errors=True)
    write_slice_entry(
        folder,
        recipe,
        [one.weights for one in found.trained],
        found.thresholds[recipe.map],
        _manifest(recipe, gathered, found),
    )
    return add_model(registry, folder)


def _manifest(recipe: SliceRecipe, gathered: GatheredSlices, found: TrainedMaps) -> Manifest:
    threshold = found.thresholds[recipe.map]
    seeds = [
        SeedRecord(
            seed=one.seed,
            step=one.steps,
            steps=one.steps,
            precision="float32",
            device=one.device,
            validation_dice=threshold.dice,
            validation_dice_by_label={},
        )
        for one in found.trained
    ]
    return manifest_of(recipe, gathered, commit=found.commit, parameters=found.trained[0].parameters, seeds=seeds)
