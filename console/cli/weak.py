"""`ichor benchmark weak`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from console.benchmark.weak import STEPS, WeakBenchmark, measure_weak
from console.cli.display import out, print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, load
from console.evaluation.report import figure
from models.phantoms.benchmark import write_benchmark


def command(
    out_dir: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the phantom benchmark, checkpoints and models.")
    ],
    *,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of each of the two trainings.")] = STEPS,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, metavar="N", help="One member for each; repeatable; 1.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure segmentation from slice labels alone: HGI-SAM beside GradCAM, one output beside six.

    On the phantom benchmark, which is written where it is missing. Run it again to go on with an interrupted training.
    """
    load(config)
    with progress_bar("Phantoms") as on_progress:
        write_benchmark(out_dir / "bench", on_progress=on_progress)
    with progress_bar("Training and scoring") as on_progress:
        found = measure_weak(
            out_dir / "bench", out_dir, steps=steps, seeds=tuple(seed or (1,)), on_progress=on_progress
        )
    if as_json:
        print_json(asdict(found))
    else:
        show(found)


def show(found: WeakBenchmark) -> None:
    """Print a line for each map of each classifier on each part."""
    rows = [
        (
            row.labels,
            row.map,
            row.part,
            figure(row.validation_auc),
            f"{row.threshold:.3f}",
            figure(row.dice_slices),
            figure(row.dice_heads),
            figure(row.dice_pooled),
            figure(row.volume_error, 2),
            f"{row.false_alarms}/{row.negatives}",
            figure(row.seconds, 2),
        )
        for row in found.rows
    ]
    columns = ("Labels", "Map", "Part", "#Planes' AUC", "#Threshold", "#Dice, slices", "#heads", "#pooled")
    print_table(
        f"From slice labels alone: {found.parameters:,} parameters, {found.steps} steps, seeds {found.seeds}",
        (*columns, "#Volume error", "#False alarms", "#s"),
        rows,
    )
    out().print(f"{found.command}; {found.machine}", markup=False)
    out().print(", ".join(f"{name} {number}" for name, number in found.versions.items()), markup=False)
