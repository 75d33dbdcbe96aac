"""`ichor password`."""

import json
import sys
from typing import Annotated

import typer

from console.cli.options import ConfigOption, load
from console.users import password_hash

SHORTEST = 10


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the user; the password is asked for, or read from standard input."
        ),
    ],
    config: ConfigOption = None,
) -> None:
    """Make an entry of the table `users` of the settings, with the hash of a password."""
    if name in {user.name for user in load(config).users}:
        typer.echo(f"The settings have an entry for {name}; put this one in its place.", err=True)
    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < SHORTEST:
        raise typer.BadParameter(f"A password has at least {SHORTEST} characters.")
    # A JSON string without characters beyond ASCII is a TOML basic string.
    typer.echo(f"[[users]]\nname = {json.dumps(name)}\npassword_hash = {json.dumps(password_hash(password))}")
