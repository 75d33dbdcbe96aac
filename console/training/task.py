"""`ichor train`, the whole story: recipe, scans, one training for each seed, and an entry of the registry."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from console.training.checkout import running_commit
from ichor import __version__
from ichor.clock import utc_now
from models.adding.install import add_model
from models.adding.package import ModelRefused
from models.training.entry import write_entry
from models.training.manifest import Manifest, SeedRecord
from models.training.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from console.training.gathering import Gathered
    from console.training.slice_gathering import GatheredSlices
    from models.registry import Registry
    from models.spec import ModelSpec
    from models.training.recipe import Recipe
    from models.training.slice_recipe import SliceRecipe

LIBRARIES = ("torch", "monai", "numpy")
ENTRY = "entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A model in the registry, and what it came from."""

    spec: ModelSpec
    manifest: Manifest


def check_name(recipe: Recipe | SliceRecipe, registry: Registry) -> None:
    """Raise ModelRefused where the registry has a model of that name: better before the hours than after."""
    if recipe.name in registry.names():
        raise ModelRefused(f"There is a model {recipe.name} already: remove it first, or give the recipe another name.")


def train_model(
    recipe: Recipe,
    gathered: Gathered,
    registry: Registry,
    out: Path,
    *,
    pretrained_in: Path | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Train every seed in a folder of `out`, and add the result to the registry.

    Pre-trainings lie in `pretrained_in`, a folder for each seed, where several trainings share them.

    An interrupted run goes on where it stopped, if recipe and data are the same.
    """
    check_name(recipe, registry)
    commit = running_commit()
    trained = []
    for number, seed in enumerate(recipe.seeds):

        def on_seed(fraction: float, number: int = number) -> None:
            if on_progress is not None:
                on_progress((number + fraction) / len(recipe.seeds))

        before = None if pretrained_in is None else pretrained_in / f"seed-{seed}"
        place = out / f"seed-{seed}"
        trained.append(train(recipe, seed, gathered.heads, place, pretrained_in=before, on_progress=on_seed))
    seeds = [
        SeedRecord(
            seed=one.seed,
            step=one.step,
            steps=one.steps,
            precision=one.precision,
            device=one.device,
            validation_dice=None if one.score is None else one.score.dice,
            validation_dice_by_label={} if one.score is None else one.score.dice_by_label,
        )
        for one in trained
    ]
    manifest = manifest_of(recipe, gathered, commit=commit, parameters=trained[0].parameters, seeds=seeds)
    shutil.rmtree(out / ENTRY, ignore_errors=True)
    write_entry(out / ENTRY, recipe, [one.weights for one in trained], manifest)
    return Outcome(spec=add_model(registry, out / ENTRY), manifest=manifest)


def manifest_of(
    recipe: Recipe | SliceRecipe,
    gathered: Gathered | GatheredSlices,
    *,
    commit: str | None,
    parameters: int,
    seeds: Sequence[SeedRecord],
) -> Manifest:
    """Write down what a model came from: now, by the code of that commit."""
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        ichor=__version__,
        commit=commit,
        libraries={name: version(name) for name in LIBRARIES},
        recipe=recipe.to_plain(),
        recipe_sha256=recipe.sha256,
        parameters=parameters,
        licence=gathered.licence,
        warnings=gathered.warnings,
        data=gathered.records,
        seeds=tuple(seeds),
        finished_at=utc_now().isoformat(timespec="seconds"),
    )
