"""`ichor work`."""

import os
from typing import Annotated, Literal

import typer

from console.cli.options import ConfigOption, load
from worker.tasks import run_worker


def command(
    queue: Annotated[Literal["analyse", "deliver"], typer.Option("--queue", help="Which queue to work on.")],
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Where the model runs, such as cuda:1.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Run a worker on one queue; for several GPUs, one worker on each."""
    settings = load(config)
    if device is not None:
        analysis = settings.analysis.model_copy(update={"device": device})
        settings = settings.model_copy(update={"analysis": analysis})
    os.umask(0o077)
    run_worker(settings, queue=queue)
