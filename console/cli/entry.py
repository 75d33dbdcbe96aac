"""The table of commands, and the edge where errors become one sentence and an exit code.

Only the module of the command that was asked for is imported; the others stand in the help as their summary. That is
why `ichor --help` answers at once although some commands load torch.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from console.cli.outcome import ExitCode
from ichor import __version__
from ichor.errors import IchorError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEntry:
    """One line of the command table."""

    name: str
    module: str
    summary: str
    panel: str


RUN, RESULTS, MODELS, CARE = "Run the node", "Studies and results", "Models and data", "Care"
COMMANDS = (
    CommandEntry(name="serve", module="serve", panel=RUN, summary="Run the whole node on this machine."),
    CommandEntry(name="listen", module="listen", panel=RUN, summary="Run the DICOM listener."),
    CommandEntry(name="web", module="web", panel=RUN, summary="Run the web server."),
    CommandEntry(
        name="work",
        module="work",
        panel=RUN,
        summary="Run a worker on one queue; for several GPUs, one worker on each.",
    ),
    CommandEntry(name="reconcile", module="reconcile", panel=RUN, summary="Settle studies and re-issue lost wake-ups."),
    CommandEntry(name="process", module="process", panel=RESULTS, summary="Analyse DICOM files without a server."),
    CommandEntry(
        name="gate", module="gate", panel=RESULTS, summary="Say of every series whether it would be analysed."
    ),
    CommandEntry(name="status", module="status", panel=RESULTS, summary="Show the worklist."),
    CommandEntry(
        name="study", module="study", panel=RESULTS, summary="Show one study's timeline, findings and deliveries."
    ),
    CommandEntry(name="retry", module="retry", panel=RESULTS, summary="Run the analysis of a study again."),
    CommandEntry(
        name="pull",
        module="pull",
        panel=RESULTS,
        summary="Fetch studies from an archive: after an outage, or priors. What was only fetched raises no alert.",
    ),
    CommandEntry(
        name="replay", module="replay", panel=RESULTS, summary="Make a stored result again and compare it bit for bit."
    ),
    CommandEntry(
        name="release", module="release", panel=RESULTS, summary="Let go the results held for a destination or channel."
    ),
    CommandEntry(
        name="models", module="models", panel=MODELS, summary="List, show, fetch, add, export and remove models."
    ),
    CommandEntry(name="phantom", module="phantom", panel=MODELS, summary="Write a synthetic head CT with known truth."),
    CommandEntry(name="train", module="train", panel=MODELS, summary="Train a model and add it to the registry."),
    CommandEntry(
        name="evaluate", module="evaluate", panel=MODELS, summary="Score masks against truth, per scan and in sum."
    ),
    CommandEntry(name="compare", module="compare", panel=MODELS, summary="Compare two systems by paired tests."),
    CommandEntry(
        name="doctor", module="doctor", panel=CARE, summary="Check settings, disk, services, model and destinations."
    ),
    CommandEntry(
        name="password",
        module="password",
        panel=CARE,
        summary="Make an entry of the table `users` of the settings, with the hash of a password.",
    ),
    CommandEntry(name="benchmark", module="benchmark", panel=CARE, summary="Measure this machine against peers."),
    CommandEntry(name="demo", module="demo", panel=CARE, summary="Show the main job end to end on this machine."),
)


def build_app(wanted: str | None) -> typer.Typer:
    """Build the command line with `wanted` loaded and every other command as its summary."""
    app = typer.Typer(
        name="ichor",
        help="DICOM node for radiology AI. Research use only.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(top_level)
    for entry in COMMANDS:
        if entry.name != wanted:
            app.command(entry.name, help=entry.summary, rich_help_panel=entry.panel)(not_loaded)
            continue
        module = importlib.import_module(f"console.cli.{entry.module}")
        if isinstance(getattr(module, "app", None), typer.Typer):
            app.add_typer(module.app, name=entry.name, rich_help_panel=entry.panel)
        else:
            app.command(entry.name, rich_help_panel=entry.panel)(module.command)
    return app


def print_version(*, value: bool) -> None:
    """Print the version and leave."""
    if value:
        typer.echo(f"ichor {__version__}")
        raise typer.Exit


def top_level(
    version: bool = typer.Option(False, "--version", callback=print_version, is_eager=True, help="Show the version."),  # noqa: FBT001
) -> None:
    """DICOM node for radiology AI. Research use only."""


def not_loaded() -> None:
    """Stand in the help for a command that was not asked for."""


def run(argv: Sequence[str]) -> int:
    """Run one command line and give its exit code; an error of ours is one sentence on stderr."""
    wanted = next((word for word in argv if not word.startswith("-")), None)
    try:
        build_app(wanted)(list(argv), prog_name="ichor")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else ExitCode.DONE
    except IchorError as error:
        typer.echo(f"ichor: {' '.join(str(error).split())}", err=True)
        return ExitCode.FAILED
    except OSError as error:
        place = f": {error.filename}" if error.filename is not None else ""
        typer.echo(f"ichor: {error.strerror or error}{place}", err=True)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        typer.echo("ichor: interrupted", err=True)
        return ExitCode.FAILED
    return ExitCode.DONE


def main() -> None:
    """Run the `ichor` command."""
    sys.exit(run(sys.argv[1:]))
