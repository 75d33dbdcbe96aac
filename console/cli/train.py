"""`ichor train`."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import out, print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, load
from console.evaluation.report import figure
from console.training.gathering import Gathered, gather
from console.training.slice_gathering import GatheredSlices, gather_slices
from console.training.slice_task import train_slice_model
from console.training.task import Outcome, check_name, train_model
from console.training.teaching import Teacher
from ichor.settings import Settings
from models.registry import Registry, default_registry
from models.training.recipe import Recipe, load_recipe
from models.training.slice_recipe import SliceRecipe, is_slice_recipe, load_slice_recipe

WORKSHOP = "training"


def command(  # noqa: PLR0913 - each argument is an option of the command line
    recipe_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Recipe (TOML); see docs/training.md.")],
    *,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Checkpoints and curves; data_dir/training/NAME where not given."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Scans on the model's grid; data_dir/training/cache."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Another name for the model.")] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, metavar="N", help="Instead of the recipe's; repeatable.")
    ] = None,
    label_fraction: Annotated[
        float | None,
        typer.Option("--label-fraction", metavar="SHARE", min=0.001, max=1.0, help="Of the training patients to use."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, without the checkpoints of an earlier run.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Train a model and add it to the registry.

    One member for each seed. Run the same command again to go on with an interrupted training.
    """
    settings = load(config)
    recipe = load_slice_recipe(recipe_file) if is_slice_recipe(recipe_file) else load_recipe(recipe_file)
    if name is not None:
        recipe = replace(recipe, name=name)
    if seed:
        recipe = replace(recipe, seeds=tuple(seed))
    if label_fraction is not None:
        recipe = replace(recipe, split=replace(recipe.split, label_fraction=label_fraction))
    registry = default_registry(settings.resolved_models_dir, os.environ)
    check_name(recipe, registry)
    workshop = settings.data_dir / WORKSHOP
    place = workshop / recipe.name if out_dir is None else out_dir
    if fresh:
        for one in recipe.seeds:
            shutil.rmtree(place / f"seed-{one}", ignore_errors=True)
    outcome = make(recipe, registry, place, settings, workshop / "cache" if cache is None else cache)
    if as_json:
        print_json({"name": outcome.spec.name, "digest": outcome.spec.digest, "manifest": asdict(outcome.manifest)})
    else:
        show(outcome, place)


def make(recipe: Recipe | SliceRecipe, registry: Registry, place: Path, settings: Settings, shelf: Path) -> Outcome:
    """Gather the scans, say what they are, and train: on masks, or on labels of slices."""
    if isinstance(recipe, SliceRecipe):
        with progress_bar("Reading scans") as on_progress:
            labelled = gather_slices(recipe, shelf, on_progress=on_progress)
        say_data(labelled)
        with progress_bar(f"Training {recipe.name}") as on_progress:
            return train_slice_model(recipe, labelled, registry, place, on_progress=on_progress)
    teacher = None if recipe.teacher is None else Teacher.of(recipe.teacher.model, registry, settings)
    with progress_bar("Reading scans") as on_progress:
        gathered = gather(recipe, shelf, teacher=teacher, on_progress=on_progress)
    say_data(gathered)
    with progress_bar(f"Training {recipe.name}") as on_progress:
        return train_model(recipe, gathered, registry, place, on_progress=on_progress)


def say_data(gathered: Gathered | GatheredSlices) -> None:
    """Say on stderr what is trained on, under which terms, and what cannot be used."""
    for data in gathered.records:
        terms = f"Terms: {data.licence.name} ({data.licence.terms})."
        if data.use == "masks":
            shares = f"{len(data.validation)} to validate, {len(data.left_out)} left out"
            typer.echo(f"{data.name}: {len(data.training)} scans to train on, {shares}. {terms}", err=True)
        else:
            typer.echo(f"{data.name}: {len(data.training)} scans without masks, {data.use}. {terms}", err=True)
        for text in data.notes:
            typer.echo(text, err=True)
        for text in data.faults:
            typer.echo(f"Not used: {text}", err=True)
    for text in gathered.warnings:
        typer.echo(f"Warning: {text}", err=True)


def show(outcome: Outcome, place: Path) -> None:
    """Print what was trained and where it is."""
    rows = [
        (
            str(one.seed),
            f"{one.step} of {one.steps}",
            figure(one.validation_dice),
            ", ".join(f"{label} {figure(dice)}" for label, dice in one.validation_dice_by_label.items()),
        )
        for one in outcome.manifest.seeds
    ]
    print_table(outcome.spec.title, ("#Seed", "#Best step", "#Validation Dice", "By label"), rows)
    spec = outcome.spec
    for line in (
        f"{spec.name} is in the registry, {outcome.manifest.parameters:,} parameters, digest {spec.digest}.",
        f"Terms: {spec.licence}. Curves: {place}/seed-N/curve.jsonl.",
        f"Run it: ichor process PATH --out DIR --model {spec.name}",
    ):
        out().print(line, markup=False)
