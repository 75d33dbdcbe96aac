"""`ichor compare`."""

from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import out, print_table, progress_bar
from console.cli.evaluate import DataOption, LabelMapOption, ReaderOption
from console.cli.options import ConfigOption, JsonOption, load
from console.evaluation.report import figure
from console.evaluation.task import Folders, ModelOnData, Ways, evaluate_folders, evaluate_model
from models.evaluation.comparison import Comparison, NotComparable, compare
from models.evaluation.evaluation import Evaluation, load_evaluation


def command(  # noqa: PLR0913 - each argument is an option of the command line
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="An evaluation (JSON), a folder of answers with --truth, or a model's name with --data."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other.")],
    *,
    truth: Annotated[Path | None, typer.Option("--truth", metavar="DIR", help="Folder with true masks.")] = None,
    data: DataOption = None,
    reader: ReaderOption = None,
    label_map: LabelMapOption = None,
    fair: Annotated[
        bool, typer.Option("--fair", help="Refuse what is no fair comparison, in the place of saying so.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compare two systems by paired tests.

    Over the scans that both scored; p-values are corrected after Holm. A fair comparison is of systems trained on the
    same scans with one budget and three seeds, that have met none of the scans they are compared on.
    """
    ways = Ways(settings=load(config), label_maps=tuple(label_map or ()))
    sides = []
    for side in (a, b):
        path = Path(side)
        if path.is_file():
            sides.append(load_evaluation(path))
        elif path.is_dir():
            sides.append(of_folder(path, truth, ways))
        else:
            sides.append(of_model(side, data, reader, ways))
    comparison = compare(sides[0], sides[1])
    if fair and comparison.unfair:
        raise NotComparable(f"Not a fair comparison. {' '.join(comparison.unfair)}")
    if as_json:
        typer.echo(comparison.to_json(), nl=False)
    else:
        show(comparison)


def of_folder(path: Path, truth: Path | None, ways: Ways) -> Evaluation:
    """Evaluate a folder of answers."""
    if truth is None:
        raise typer.BadParameter(f"{path} is a folder of answers: give --truth DIR too.")
    with progress_bar(f"Evaluating {path.name}") as on_progress:
        return evaluate_folders(Folders(truth=truth, answer=path), ways, on_progress)


def of_model(name: str, data: Path | None, reader: str | None, ways: Ways) -> Evaluation:
    """Evaluate a model of the registry."""
    if data is None:
        raise typer.BadParameter(f"{name} is no file and no folder; for a model of that name give --data DIR too.")
    with progress_bar(f"Evaluating {name}") as on_progress:
        return evaluate_model(ModelOnData(model=name, data=data, reader=reader), ways, on_progress)


def show(comparison: Comparison) -> None:
    """Print one line per test."""
    rows = [
        (
            test.figure,
            str(test.scans),
            figure(test.a),
            figure(test.b),
            figure(test.median_difference),
            "-" if test.low is None or test.high is None else f"{test.low:.3f} to {test.high:.3f}",
            f"{test.p:.4f}",
            f"{test.p_holm:.4f}",
        )
        for test in comparison.tests
    ]
    print_table(
        f"A: {comparison.a}, B: {comparison.b}, on {comparison.data}, {comparison.scans} scans",
        ("Figure", "#Scans", "#A", "#B", "#Median B - A", "#95 %", "#p", "#p (Holm)"),
        rows,
    )
    if comparison.unfair:
        out().print("Not a fair comparison:", markup=False)
        for text in comparison.unfair:
            out().print(f"- {text}", markup=False)
    for name, left in (("A", comparison.only_a), ("B", comparison.only_b)):
        if left:
            out().print(f"Scored for {name} only, left out: {', '.join(left)}", markup=False)
