"""The engine: migrated under a lock, durable, on one clock, and honest when it is away."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.exc import StatementError

from ichor.catalogue.beats import beat, live
from ichor.catalogue.engine import Catalogue, database_now
from ichor.catalogue.intake import record_instances
from ichor.catalogue.migration import MIGRATIONS
from ichor.catalogue.schema import Base, Beat, Instance
from ichor.clock import utc_now
from ichor.errors import CatalogueUnreachable, SettingsError
from tests.ichor.catalogue.examples import slices
from tests.ichor.postgres import PostgresCluster


def test_migrations_and_tables_agree(catalogue: Catalogue) -> None:
    """What the migrations build is what the code describes, on both databases."""
    with catalogue._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_opening_again_keeps_what_is_there(catalogue: Catalogue, catalogue_url: str) -> None:
    """A start is not a reset."""
    with catalogue.write() as session:
        record_instances(session, slices(2))
    again = Catalogue.open(catalogue_url)
    with again.read() as session:
        assert session.scalars(select(func.count()).select_from(Instance)).one() == 2
    again.close()


def test_a_catalogue_that_is_up_to_date_needs_no_migration_tool(catalogue: Catalogue, catalogue_url: str) -> None:
    """A process that finds the newest version does not load alembic; one that finds an older one migrates."""
    code = (
        "import sys\nfrom ichor.catalogue.engine import Catalogue\n"
        f"Catalogue.open({catalogue_url!r}).close()\nprint('alembic' in sys.modules)"
    )

    def opened() -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with catalogue._engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == head
    assert opened() == "False"
    with catalogue._engine.begin() as connection:
        connection.execute(text("DROP TABLE released_name"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0009'"))
    assert opened() == "True"
    with catalogue._engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == head
        assert connection.execute(text("SELECT count(*) FROM released_name")).scalar() == 0


def test_many_may_open_an_empty_catalogue_at_once(virgin_url: str) -> None:
    """Listener, workers and web server start together; one of them migrates."""
    with ThreadPoolExecutor(8) as pool:
        for catalogue in pool.map(Catalogue.open, [virgin_url] * 8):
            catalogue.close()


def test_an_error_takes_the_whole_transaction_back(catalogue: Catalogue) -> None:
    """Nothing half-done is ever seen."""

    def break_off() -> None:
        with catalogue.write() as session:
            record_instances(session, slices(2))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    with catalogue.read() as session:
        assert session.scalars(select(func.count()).select_from(Instance)).one() == 0


def test_the_database_clock_is_aware_and_runs(catalogue: Catalogue) -> None:
    """Also within one transaction, so that a lease begins when it is taken."""
    with catalogue.write() as session:
        first = database_now(session)
        session.execute(text("SELECT 1"))
        assert abs(first - utc_now()) < timedelta(seconds=2)
        assert first.tzinfo is UTC
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SELECT pg_sleep(0.05)"))
            assert database_now(session) > first


def test_times_come_back_as_they_went_in(catalogue: Catalogue) -> None:
    """Another zone's time is the same moment in UTC; a time without zone is refused."""
    moment = datetime(2026, 3, 29, 2, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
    with catalogue.write() as session:
        session.add(Beat(name="x", kind="web", started_at=moment, seen_at=moment, detail={}))
    with catalogue.read() as session:
        seen = session.get_one(Beat, "x").seen_at
        assert (seen, seen.utcoffset()) == (moment, timedelta(0))
    naive = moment.replace(tzinfo=None)
    with pytest.raises(StatementError, match="naive"), catalogue.write() as session:
        session.add(Beat(name="y", kind="web", started_at=naive, seen_at=naive, detail={}))


def test_who_beat_lately_lives(catalogue: Catalogue) -> None:
    """A beat renews; the start stays; who was silent for long is gone."""
    with catalogue.write() as session:
        beat(session, "host:1", "listener")
        beat(session, "host:2", "analyse", {"job": 1})
    with catalogue.write() as session:
        session.execute(text("UPDATE beat SET seen_at = '2026-01-01 00:00:00+00' WHERE name = 'host:1'"))
    with catalogue.write() as session:
        assert [row.name for row in live(session, 60)] == ["host:2"]
        beat(session, "host:1", "listener", {"associations": 0})
    with catalogue.read() as session:
        first, second = live(session, 60)
        assert (first.detail, second.detail, second.kind) == ({"associations": 0}, {"job": 1}, "analyse")
        assert first.started_at < first.seen_at


def test_sqlite_is_durable_and_closed_to_others(tmp_path: Path) -> None:
    """WAL, synchronous=FULL (2), foreign keys; files for the owner alone."""
    catalogue = Catalogue.open(f"sqlite:///{tmp_path}/data/catalogue.sqlite")
    with catalogue.write() as session:
        values = [session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
        assert [*values, session.execute(text("PRAGMA foreign_keys")).scalar()] == ["wal", 2, 1]
    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")} == {0}
    catalogue.close()


def test_a_sqlite_writer_waits_for_its_turn(tmp_path: Path) -> None:
    """Many threads read, then write: BEGIN IMMEDIATE lets none fail on the other's lock."""
    catalogue = Catalogue.open(f"sqlite:///{tmp_path}/catalogue.sqlite")
    with catalogue.write() as session:
        session.add(Beat(name="n", kind="web", started_at=utc_now(), seen_at=utc_now(), detail={"n": 0}))

    def count(_: int) -> None:
        with catalogue.write() as session:
            row = session.get_one(Beat, "n")
            row.detail = {"n": row.detail["n"] + 1}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(40)))
    with catalogue.read() as session:
        assert session.get_one(Beat, "n").detail == {"n": 40}
    catalogue.close()


def test_killed_in_the_middle_loses_only_what_was_not_committed(tmp_path: Path) -> None:
    """SIGKILL inside a write transaction: what was committed before is there, the rest is not."""
    url = f"sqlite:///{tmp_path}/catalogue.sqlite"
    script = (
        "import os, signal, sys\nfrom ichor.catalogue.engine import Catalogue\n"
        "from ichor.catalogue.intake import record_instances\nfrom tests.ichor.catalogue.examples import slices\n"
        "catalogue = Catalogue.open(sys.argv[1])\n"
        "with catalogue.write() as session:\n    record_instances(session, slices(3))\n"
        "with catalogue.write() as session:\n    record_instances(session, slices(9))\n    session.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", script, url], cwd=root, check=False).returncode == -9
    catalogue = Catalogue.open(url)
    with catalogue.write() as session:
        assert session.scalars(select(func.count()).select_from(Instance)).one() == 3
        assert record_instances(session, slices(9)) == 6
    catalogue.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_serve_is_a_settings_error(url: str) -> None:
    """Also a catalogue in memory, which would forget studies."""
    with pytest.raises(SettingsError, match="catalogue_url"):
        Catalogue.open(url)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A file where a folder is needed."""
    (tmp_path / "file").touch()
    with pytest.raises(CatalogueUnreachable, match="cannot be opened"):
        Catalogue.open(f"sqlite:///{tmp_path}/file/catalogue.sqlite")


@pytest.mark.integration
def test_a_postgresql_that_comes_back_is_used_again(postgres: PostgresCluster) -> None:
    """Killed under an open catalogue: our own transient error, without data in it, and then it works again."""
    catalogue = Catalogue.open(postgres.new_database())
    with catalogue.write() as session:
        record_instances(session, slices(1))
    postgres.stop()
    try:
        with pytest.raises(CatalogueUnreachable) as raised, catalogue.write() as session:
            record_instances(session, slices(2))
        assert "Test^One" not in str(raised.value)
    finally:
        postgres.start()
    with catalogue.write() as session:
        assert record_instances(session, slices(2)) == 1
    catalogue.close()
