"""The catalogue's engine: SQLite on a local disk, or PostgreSQL for several hosts.

SQLite runs in WAL mode with `synchronous=FULL`: what was committed survives a power cut. Every write transaction
begins with `BEGIN IMMEDIATE`, so that it waits for its turn at the start and never fails half-way on a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from ichor.catalogue.migration import migrate
from ichor.catalogue.schema import UtcDateTime
from ichor.errors import CatalogueUnreachable, SettingsError

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for its turn; longer than any transaction of ours takes by orders of magnitude."""
MIGRATION_LOCK = 0x49_43_48_4F  # "ICHO": key of PostgreSQL's advisory lock, the same on every host
CONNECT_TIMEOUT_S = 5


class Catalogue:
    """An open catalogue; may be used from several threads, each with its own session."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(ichor_write=True)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a catalogue, and bring its schema to the newest version while nobody else does.

        Raises:
            SettingsError: the URL is none, or names a database that is not supported.
            CatalogueUnreachable: the database does not answer.
        """
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise SettingsError("catalogue_url is not a database URL.") from error
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise SettingsError("catalogue_url must name a file: a catalogue in memory would lose studies.")
            path = Path(parsed.database)
            catalogue = cls(_sqlite_engine(url))
            with _unreachable(), _file_lock(path):
                # SQLite would create it with what the umask leaves; it holds patient data.
                path.touch(mode=0o600)
                catalogue._migrate()
        elif backend == "postgresql":
            catalogue = cls(_postgresql_engine(url))
            with _unreachable(), catalogue._engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
                connection.commit()
                try:
                    catalogue._migrate()
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
                    connection.commit()
        else:
            raise SettingsError(f"catalogue_url names {backend}; known are sqlite and postgresql+psycopg.")
        return catalogue

    def _migrate(self) -> None:
        with self._writer.begin() as connection:
            migrate(connection)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session for reading.

        Raises:
            CatalogueUnreachable: the database does not answer, or did not give a turn in time.
        """
        with _unreachable(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session whose work is committed at the end of the block, and rolled back on any error.

        Raises:
            CatalogueUnreachable: the database does not answer, or did not give a turn in time.
        """
        with _unreachable(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def database_now(session: Session) -> datetime:
    """Return the database's clock; on PostgreSQL that of this moment, not that of the transaction's begin."""
    now: Any = (
        func.strftime("%Y-%m-%d %H:%M:%f", "now", type_=UtcDateTime)
        if session.get_bind().dialect.name == "sqlite"
        else func.clock_timestamp(type_=UtcDateTime)
    )
    moment: datetime = session.execute(select(now)).scalar_one()
    return moment


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by itself, deferred and too late; `_begin` does it instead.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("ichor_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgresql_engine(url: str) -> Engine:
    # A connection that died with the server is replaced before it is used.
    return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Hold a lock beside the file, so that of several processes that start at once one migrates."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CatalogueUnreachable(f"The catalogue {path} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _unreachable() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise CatalogueUnreachable(f"The catalogue does not answer: {_cause(error)}.") from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise CatalogueUnreachable(f"The catalogue does not answer: {_cause(error)}.") from error


def _cause(error: Exception) -> str:
    # The driver's own words only: SQLAlchemy adds the statement with its parameters, which are patient data.
    lines = str(getattr(error, "orig", None) or "no connection became free").strip().splitlines()
    return lines[0].rstrip(".") if lines else "no reason given"
