"""Bringing a catalogue's schema to the newest version.

Alembic is loaded only where there is something to do: it takes 10 MB, and most processes find the catalogue as it
should be.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"


def migrate(connection: Connection) -> None:
    """Migrate, in the connection's transaction; whoever calls keeps others away meanwhile."""
    if _version(connection) == _newest_version():
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    version: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608
    return version


def _newest_version() -> str:
    """Return the number that the last migration's file begins with, which is its revision."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]
