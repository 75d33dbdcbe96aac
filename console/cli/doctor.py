"""`ichor doctor`."""

import os

import typer

from console.cli.display import print_json, print_table
from console.cli.options import ConfigOption, JsonOption, load
from console.cli.outcome import ExitCode
from console.doctor import Level, examine


def command(*, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check settings, disk, services, model and destinations.

    Exit code 1: at least one check failed; warnings alone do not fail.
    """
    checks = examine(load(config), environ=os.environ)
    if as_json:
        print_json([{"name": check.name, "level": check.level.value, "text": check.text} for check in checks])
    else:
        print_table("", ("Check", "", "Finding"), [(check.name, check.level.value, check.text) for check in checks])
    if any(check.level is Level.FAILED for check in checks):
        raise typer.Exit(ExitCode.FAILED)
