"""`ichor release`."""

from typing import Annotated

import typer

from console.cli.options import ConfigOption, load
from console.releasing import release_held


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A destination or an alert channel of the settings.")],
    config: ConfigOption = None,
) -> None:
    """Let go the results held for a destination or channel."""
    released = release_held(load(config), name)
    typer.echo(f"{released} held {'message' if released == 1 else 'messages'} released to {name}.")
