"""`ichor demo`."""

import os
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from console.cli.options import MembersOption, ModelOption
from console.cli.outcome import ExitCode
from console.demo.screen import Screen
from console.demo.story import DemoRequest, run_demo
from ichor.settings import load_settings


def command(
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for pictures and files; a new one in the temporary folder."),
    ] = None,
    model: ModelOption = None,
    members: MembersOption = None,
) -> None:
    """Show the main job end to end on this machine.

    Starts a PACS, an alert receiver and a node on loopback, sends a synthetic head CT with a known bleed, and sets
    the truth beside what came back. Exit code 0 only where SEG, SR, summary and a signed alert arrived.
    """
    signal.signal(signal.SIGTERM, end)
    request = DemoRequest(
        out=Path(tempfile.mkdtemp(prefix="ichor-demo-out-")) if out_dir is None else out_dir,
        model=model,
        members=members,
        models_dir=load_settings(None, environ=os.environ).resolved_models_dir,
        environ=os.environ,
    )
    screen = Screen(Console(width=None if os.isatty(1) else 120))
    outcome = run_demo(request, screen)
    screen.report(outcome)
    if not outcome.arrivals.complete:
        screen.warn(f"NOT EVERYTHING ARRIVED (see above). The node's log is {outcome.out.resolve() / 'node.log'}.")
        raise typer.Exit(ExitCode.FAILED)


def end(_number: int, _frame: FrameType | None) -> None:
    """Leave through every clean-up."""
    raise SystemExit(ExitCode.FAILED)
