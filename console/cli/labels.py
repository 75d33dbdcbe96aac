"""`ichor benchmark labels`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args

import typer

from console.benchmark.labels import FRACTIONS, LabelCurve, LabelTask, measure_labels
from console.cli.display import out, print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, load
from console.evaluation.report import figure
from models.training.recipe import Pretraining, load_recipe

KINDS: tuple[Pretraining, ...] = get_args(Pretraining)


def command(
    recipe_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Recipe (TOML) that all have in common.")],
    out_dir: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for models, curves and scores.")],
    *,
    test: Annotated[Path, typer.Option("--test", metavar="DIR", help="Data set with masks that nobody trains on.")],
    fraction: Annotated[
        list[float] | None,
        typer.Option("--fraction", metavar="SHARE", min=0.001, max=1.0, help="Of the labels; repeatable."),
    ] = None,
    pretraining: Annotated[
        list[str] | None,
        typer.Option("--pretraining", metavar="KIND", help=f"Beside none; repeatable: {', '.join(KINDS)}."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure pre-training against none at 5, 10, 25 and 100 % of the labels.

    Without --pretraining, all kinds. Run it again to go on where it was interrupted.
    """
    unknown = [one for one in pretraining or () if one not in KINDS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(KINDS)}.")
    task = LabelTask(
        recipe=load_recipe(recipe_file),
        test=test,
        place=out_dir,
        fractions=tuple(fraction or FRACTIONS),
        kinds=KINDS if pretraining is None else tuple(kind for kind in KINDS if kind in pretraining),
    )
    with progress_bar("Training and scoring") as on_progress:
        curve = measure_labels(task, load(config), on_progress=on_progress)
    if as_json:
        print_json(asdict(curve))
    else:
        show(curve)


def show(curve: LabelCurve) -> None:
    """Print a line for each share and kind."""
    rows = [
        (
            f"{100 * row.fraction:g} %",
            str(row.scans),
            row.pretraining,
            figure(row.validation_dice),
            figure(row.dice_heads),
            figure(row.dice_pooled),
            figure(row.rmse_ml, 2),
        )
        for row in curve.rows
    ]
    before = "" if curve.pretraining_steps is None else f", {curve.pretraining_steps} before them"
    title = f"Scored on {curve.test}: {curve.steps} steps{before}, {len(curve.seeds)} seed(s)"
    columns = ("#Labels", "#Scans", "Pre-training", "#Validation Dice", "#Dice, heads with blood", "#Dice, pooled")
    print_table(title, (*columns, "#RMSE, mL"), rows)
    out().print(f"{curve.command}; {curve.machine}", markup=False)
    out().print(", ".join(f"{name} {number}" for name, number in curve.versions.items()), markup=False)
