"""`ichor serve`."""

import os

import typer

from console.cli.options import ConfigOption, load
from console.supervisor import Supervisor


def command(config: ConfigOption = None) -> None:
    """Run the whole node on this machine.

    Redis, listener, web server, one analysis worker, one delivery worker and the reconciler; SIGTERM drains.
    """
    Supervisor(settings=load(config), config=config, environ=os.environ, announce=announce).run()


def announce(sentence: str) -> None:
    """Print one line at once, also into a pipe."""
    typer.echo(sentence)
    typer.get_text_stream("stdout").flush()
