"""The `ichor` command: one file per command or command group, loaded only when it is called.

Command modules do without postponed annotations, because Typer reads them at run time.
"""

from console.cli.entry import main

__all__ = ["main"]
