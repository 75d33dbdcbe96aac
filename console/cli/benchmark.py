"""`ichor benchmark`."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from console.benchmark.abc2 import measure_abc2
from console.benchmark.engine import measure_engine
from console.benchmark.figures import Benchmark
from console.benchmark.flood import measure_flood
from console.benchmark.grid import Spacing, measure_grid
from console.benchmark.ingest import measure_ingest
from console.benchmark.latency import measure_latency
from console.benchmark.negatives import measure_negatives
from console.benchmark.queue import Load, measure_queue
from console.benchmark.volume import measure_volume
from console.benchmark.writing import measure_writing
from console.cli import labels, weak
from console.cli.display import out, print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, MembersOption, ModelOption, check_paths, load
from models.registry import default_registry

app = typer.Typer(help="Measure this machine against peers.", no_args_is_help=True)
app.command("labels")(labels.command)
app.command("weak")(weak.command)


@app.command()
def ingest(
    *,
    slices: Annotated[int, typer.Option("--slices", min=1, help="How many slices to send.")] = 800,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often; the median counts.")] = 1,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure how fast slices are taken in, beside plain writes, dcmtk's storescp and Orthanc."""
    load(config)
    show(measure_ingest(count=slices, runs=runs), as_json=as_json)


@app.command()
def flood(
    *,
    connections: Annotated[int, typer.Option("--connections", min=200, help="How many to each port.")] = 10_000,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure what bare TCP connections cost the listener, and how long a C-ECHO takes meanwhile."""
    load(config)
    show(measure_flood(connections=connections), as_json=as_json)


@app.command()
def engine(
    *,
    model: ModelOption = None,
    members: MembersOption = 1,
    head: Annotated[
        Path | None,
        typer.Option("--head", metavar="DIR", help="A head CT as DICOM; a phantom where this is not given."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure seconds, memory and agreement of the engine, beside the original's windows and our own float32."""
    settings = load(config)
    figures = measure_engine(
        default_registry(settings.resolved_models_dir, os.environ),
        name=settings.analysis.model if model is None else model,
        members=1 if members is None else members,
        device=settings.analysis.device,
        threads=settings.analysis.threads,
        head=head,
    )
    show(figures, as_json=as_json)


@app.command()
def latency(
    *,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often; the median counts.")] = 1,
    slices: Annotated[int | None, typer.Option("--slices", min=20, max=160, help="Of the phantom.")] = None,
    model: ModelOption = None,
    members: MembersOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure the time from the last slice to the result in a PACS, on the demo's node."""
    settings = load(config)
    figures = measure_latency(
        runs=runs,
        slices=slices,
        model=model,
        members=members,
        models_dir=settings.resolved_models_dir,
        environ=os.environ,
    )
    show(figures, as_json=as_json)


@app.command()
def queue(
    *,
    studies: Annotated[int, typer.Option("--studies", min=10, help="How many wait in the queue.")] = 10_000,
    instances: Annotated[int, typer.Option("--instances", min=100, help="How many the catalogue holds.")] = 1_000_000,
    workers: Annotated[int, typer.Option("--workers", min=2, help="How many work side by side.")] = 4,
    catalogue_url: Annotated[
        str | None, typer.Option("--catalogue-url", help="An empty PostgreSQL database; SQLite where not given.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure CPU per study, gain by more workers, fairness and the worklist's query, with a stub for a model."""
    load(config)
    demand = Load(
        queued=studies,
        done=min(1000, studies // 2),
        workers=workers,
        per_worker=min(15, studies // 10),
        instances=instances,
    )
    tell = Console(stderr=True).print
    show(measure_queue(catalogue_url=catalogue_url, load=demand, tell=tell), as_json=as_json)


@app.command()
def abc2(
    *,
    heads: Annotated[int, typer.Option("--heads", min=3, help="How many bleeds, each in a head of its own.")] = 200,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure ABC/2 beside the sum of voxels over lobulated bleeds."""
    load(config)
    with progress_bar("Bleeds") as on_progress:
        figures = measure_abc2(heads=heads, on_progress=on_progress)
    show(figures, as_json=as_json)


@app.command()
def volume(
    *,
    slices: Annotated[int, typer.Option("--slices", min=20, help="How many slices the head has.")] = 300,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often; the median counts.")] = 3,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure gate and volume of a thin-sliced head: seconds and peak memory, beside plain pydicom."""
    load(config)
    show(measure_volume(slices=slices, runs=runs), as_json=as_json)


@app.command()
def negatives(
    *,
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="DIR", help="Folder of a head without blood; repeatable.")
    ] = None,
    heads: Annotated[int, typer.Option("--heads", min=0, help="How many phantoms without a lesion.")] = 10,
    model: ModelOption = None,
    members: MembersOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure what a model marks in heads without blood, and the alarms per 100 of them at each threshold."""
    settings = load(config)
    folders = [] if data is None else data
    check_paths(folders)
    analysis = settings.analysis
    segmenter = default_registry(settings.resolved_models_dir, os.environ).load(
        analysis.model if model is None else model,
        members=analysis.members if members is None else members,
        device=analysis.device,
        precision=analysis.precision,
        threads=analysis.threads,
    )
    with progress_bar("Heads") as on_progress:
        figures = measure_negatives(segmenter, folders=folders, heads=heads, on_progress=on_progress)
    show(figures, as_json=as_json)


@app.command()
def grid(
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Data set with masks; its layout is recognised.")],
    spacing: Annotated[
        list[str] | None,
        typer.Option("--spacing", metavar="Z,Y,X", help="Of the grid in mm; repeatable; 4,1.5,1.5 and 2.5,1.5,1.5."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure what a model's grid costs: truth laid on it and back to the slices, before anything is trained."""
    load(config)
    check_paths([data])
    spacings = [_spacing(text) for text in spacing or ("4,1.5,1.5", "2.5,1.5,1.5")]
    with progress_bar("Grids") as on_progress:
        figures = measure_grid(data, spacings, on_progress=on_progress)
    show(figures, as_json=as_json)


@app.command()
def write(
    *,
    slices: Annotated[int, typer.Option("--slices", min=20, help="Of 1 mm.")] = 200,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often; the median counts.")] = 5,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure how long SEG, reports and summary of a whole head take to write, beside the same bytes."""
    settings = load(config)
    spec = default_registry(settings.resolved_models_dir, os.environ).spec(settings.analysis.model)
    show(measure_writing(spec, slices=slices, runs=runs), as_json=as_json)


def _spacing(text: str) -> Spacing:
    """Read Z,Y,X in mm."""
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not of the form 4,1.5,1.5.") from error
    if min(z, y, x) <= 0:
        raise typer.BadParameter(f"{text!r}: millimetres are more than 0.")
    return z, y, x


def show(figures: Benchmark, *, as_json: bool) -> None:
    """Print the table with the machine and the versions below it."""
    if as_json:
        print_json(asdict(figures))
        return
    rows = [
        (
            figure.what,
            f"{figure.value:.3g}" if figure.value < 100 else f"{figure.value:.0f}",
            figure.unit,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.peer,
        )
        for figure in figures.figures
    ]
    print_table(figures.title, ("What", "#Value", "Unit", "#Ratio", "Against"), rows)
    out().print(f"{figures.command}; {figures.machine}", markup=False)
    out().print(", ".join(f"{name} {number}" for name, number in figures.versions.items()), markup=False)
