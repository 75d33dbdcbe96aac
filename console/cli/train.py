"""`ichor train`."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
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
from models.training.data.catalogue import READERS
from models.training.recipe import DataRecipe, Recipe, load_recipe
from models.training.slice_recipe import SliceRecipe, is_slice_recipe, load_slice_recipe
from models.training.smoke import smoke_test_of, smoke_test_of_slices

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
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="DIR", help="Data sets instead of the recipe's; repeatable."),
    ] = None,
    reader: Annotated[
        str | None, typer.Option("--reader", metavar="NAME", help=f"Kind of --data: {', '.join(READERS)}.")
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Two steps on a few scans: does it run here? Nothing stays."),
    ] = False,
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
    if reader is not None and not data:
        raise typer.BadParameter("--reader: says what --data is, and there is none")
    sets = [DataRecipe(path=path, reader=reader) for path in data or ()]
    recipe = read(recipe_file, name=name, seeds=seed, label_fraction=label_fraction, sets=sets)
    registry = default_registry(settings.resolved_models_dir, os.environ)
    workshop = settings.data_dir / WORKSHOP
    shelf = workshop / "cache" if cache is None else cache
    if smoke:
        outcome = try_out(recipe, registry, settings, shelf)
        place = None
    else:
        check_name(recipe, registry)
        place = workshop / recipe.name if out_dir is None else out_dir
        if fresh:
            for one in recipe.seeds:
                shutil.rmtree(place / f"seed-{one}", ignore_errors=True)
        outcome = make(recipe, registry, registry, place, settings, shelf)
    if as_json:
        print_json({"name": outcome.spec.name, "digest": outcome.spec.digest, "manifest": asdict(outcome.manifest)})
    elif place is None:
        show_trial(outcome)
    else:
        show(outcome, place)


def read(
    path: Path, *, name: str | None, seeds: list[int] | None, label_fraction: float | None, sets: list[DataRecipe]
) -> Recipe | SliceRecipe:
    """Read a recipe of either kind, with what the command line says in the place of its own."""
    recipe = load_slice_recipe(path) if is_slice_recipe(path) else load_recipe(path)
    split = recipe.split if label_fraction is None else replace(recipe.split, label_fraction=label_fraction)
    return replace(
        recipe,
        name=recipe.name if name is None else name,
        seeds=tuple(seeds) if seeds else recipe.seeds,
        split=split,
        data=tuple(sets) or recipe.data,
    )


def try_out(recipe: Recipe | SliceRecipe, teachers: Registry, settings: Settings, shelf: Path) -> Outcome:
    """Make the recipe's smoke test; of all that it trains nothing stays."""
    small = smoke_test_of_slices(recipe) if isinstance(recipe, SliceRecipe) else smoke_test_of(recipe)
    with TemporaryDirectory(prefix="ichor-smoke-") as scratch:
        return make(small, Registry(Path(scratch) / "models"), teachers, Path(scratch), settings, shelf)


def make(
    recipe: Recipe | SliceRecipe, registry: Registry, teachers: Registry, place: Path, settings: Settings, shelf: Path
) -> Outcome:
    """Gather the scans, say what they are, and train: on masks, or on labels of slices."""
    if isinstance(recipe, SliceRecipe):
        with progress_bar("Reading scans") as on_progress:
            labelled = gather_slices(recipe, shelf, on_progress=on_progress)
        say_data(labelled)
        with progress_bar(f"Training {recipe.name}") as on_progress:
            return train_slice_model(recipe, labelled, registry, place, on_progress=on_progress)
    teacher = None if recipe.teacher is None else Teacher.of(recipe.teacher.model, teachers, settings)
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


def show_trial(outcome: Outcome) -> None:
    """Print that a smoke test went through."""
    steps = sum(one.steps for one in outcome.manifest.seeds)
    out().print(
        f"{outcome.spec.name}: {outcome.manifest.parameters:,} parameters, {steps} steps, validated, and its entry "
        "loads. Nothing was added to the registry.",
        markup=False,
    )


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
