"""`ichor release`."""

from typing import Annotated

import typer

from console.cli.display import print_json
from console.cli.options import ConfigOption, JsonOption, load
from console.releasing import hold_again, release_held


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A destination or an alert channel of the settings.")],
    *,
    undo: Annotated[
        bool, typer.Option("--undo", help="Hold again what comes from now on; what went out is out.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Let go the results held for a destination or channel.

    This ends its commissioning: what comes for it later goes out at once. Alerts about scans that are too old by now
    are withdrawn.
    """
    settings = load(config)
    if undo:
        hold_again(settings, name)
        released = 0
    else:
        released = release_held(settings, name)
    held = undo and settings.delivery.hold
    if as_json:
        print_json({"name": name, "released": released, "held": held})
    elif undo:
        typer.echo(f"What comes for {name} from now on {'is held' if held else 'goes out: delivery.hold is false'}.")
    else:
        what = f"{released} held {'message' if released == 1 else 'messages'} released to {name}"
        typer.echo(f"{what}; what comes later goes out at once.")
