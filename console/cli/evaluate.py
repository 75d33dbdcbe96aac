"""`ichor evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import out, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, MembersOption, load
from console.cli.outcome import ExitCode
from console.evaluation.report import figure
from console.evaluation.task import EXTRAS, Folders, ModelOnData, Ways, evaluate_folders, evaluate_model
from models.evaluation.evaluation import Evaluation
from models.evaluation.exam import ALARM_ML
from models.training.data.catalogue import READERS

LabelMapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label-map",
        metavar="[truth=|pred=]MAP",
        help="binary, four-class, five-subtype, a model's name, or 1=IPH,2=IVH; repeatable; binary where not given.",
    ),
]


ModelNameOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Model of the registry to run, with --data.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data set to run it on; its layout is recognised.")
]
ReaderOption = Annotated[
    str | None, typer.Option("--reader", metavar="NAME", help=f"Kind of data set: {', '.join(READERS)}.")
]


def command(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    truth: Annotated[Path | None, typer.Option("--truth", metavar="DIR", help="Folder with true masks.")] = None,
    pred: Annotated[Path | None, typer.Option("--pred", metavar="DIR", help="Folder with answers, same names.")] = None,
    model: ModelNameOption = None,
    data: DataOption = None,
    reader: ReaderOption = None,
    members: MembersOption = None,
    extra: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="EXTRA", help=f"Beside the model, repeatable: {', '.join(EXTRAS)}."),
    ] = None,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Keep the model's answers here.")] = None,
    label_map: LabelMapOption = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="CTs (NIfTI, same names) below the pictures.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="REPORT", help="Write a page of HTML.")] = None,
    alarm_ml: Annotated[
        float, typer.Option("--alarm", metavar="ML", min=0.0, help="Marked volume from which an exam is an alarm.")
    ] = ALARM_ML,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Score masks against truth, per scan and in sum.

    Either --truth and --pred, folders of NIfTI masks or DICOM SEG (named seg.dcm) paired by name; or --model and
    --data, which runs a model over a data set first; mirror images and post-processing (--with) stand in its name. Exit
    code 3: some scans could not be scored; they are named.
    """
    ways = Ways(settings=load(config), label_maps=tuple(label_map or ()), alarm_ml=alarm_ml, html=html)
    with progress_bar("Evaluating") as on_progress:
        if truth is not None and pred is not None and model is None and data is None:
            evaluation = evaluate_folders(Folders(truth=truth, answer=pred, images=images), ways, on_progress)
        elif model is not None and data is not None and truth is None and pred is None:
            extras = tuple(extra or ())
            unknown = [one for one in extras if one not in EXTRAS]
            if unknown:
                raise typer.BadParameter(f"--with {unknown[0]}: there are {', '.join(EXTRAS)}.")
            task = ModelOnData(model=model, data=data, reader=reader, members=members, keep=keep, extras=extras)
            evaluation = evaluate_model(task, ways, on_progress)
        else:
            raise typer.BadParameter("Give --truth DIR and --pred DIR, or --model NAME and --data DIR.")
    if as_json:
        typer.echo(evaluation.to_json(), nl=False)
    else:
        show(evaluation, html)
    raise typer.Exit(ExitCode.NOT_ANALYSED if evaluation.faults else ExitCode.DONE)


def show(evaluation: Evaluation, html: Path | None) -> None:
    """Print the sums, what could not be scored, and where the report is."""
    rows = [
        (
            one.name,
            f"{one.positives}/{one.scans}",
            figure(one.dice_positives),
            figure(one.dice_all),
            figure(one.hd95.mean_mm, 1),
            str(one.hd95.infinite),
            figure(one.nsd),
            figure(None if one.icc is None else one.icc.two_way_random),
            figure(one.rmse_ml, 2),
        )
        for one in evaluation.summary.classes
    ]
    columns = ("Class", "#With it", "#Dice, with it", "#Dice, all", "#HD95, mm", "#Infinite", "#NSD", "#ICC(2,1)")
    print_table(f"{evaluation.system} on {evaluation.data}", (*columns, "#RMSE, mL"), rows)
    print_table(
        "Any haemorrhage by true volume",
        ("mL", "#Scans", "#Mean error, mL", "#Lesions", "#Found"),
        [
            (
                f"{group.low_ml:g} to {figure(group.high_ml, 0)}",
                str(group.scans),
                figure(group.mean_ml, 2),
                str(lesions.lesions),
                figure(lesions.sensitivity),
            )
            for group, lesions in zip(
                evaluation.summary.classes[0].error_by_size, evaluation.summary.lesions_by_size, strict=True
            )
        ],
    )
    exam, alarms = evaluation.summary.auc, evaluation.summary.alarms
    if exam is not None:
        out().print(f"Exam AUC {exam.value:.3f} ({exam.low:.3f} to {exam.high:.3f}).", markup=False)
    if alarms.false_alarms_per_100 is not None:
        said = f"False alarms per 100 scans without blood: {alarms.false_alarms_per_100:.1f}."
        out().print(f"{said} Marked there: {figure(alarms.false_ml_mean, 2)} mL.", markup=False)
    for text in (*evaluation.notes, *(f"Not scored: {fault.text}" for fault in evaluation.faults)):
        out().print(text, markup=False)
    if html is not None:
        out().print(f"Report: {html}", markup=False)
