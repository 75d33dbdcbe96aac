"""Options that several commands share, and what they stand for."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ichor.errors import NotAnalysable
from ichor.log import configure_logging
from ichor.settings import Settings, load_settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file (TOML); $ICHOR_CONFIG where this is not given."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Model to use instead of the configured one.")
]
MembersOption = Annotated[
    int | None, typer.Option("--members", min=1, metavar="N", help="Use only the first N members of the ensemble.")
]
StudyArgument = Annotated[str, typer.Argument(metavar="UID", help="Study Instance UID.")]


def check_paths(paths: list[Path]) -> None:
    """Raise NotAnalysable where a path does not exist."""
    for path in paths:
        if not path.exists():
            raise NotAnalysable("no_such_path", f"There is no {path}.")


def load(config: Path | None) -> Settings:
    """Load the settings of a command and set up its log on stderr."""
    settings = load_settings(config, environ=os.environ)
    configure_logging(settings.log_level, json=not os.isatty(2))
    return settings
