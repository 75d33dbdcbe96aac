"""Catalogues on both databases."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Base
from tests.ichor.postgres import PostgresCluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One PostgreSQL for all tests; each takes a database of its own."""
    with tempfile.TemporaryDirectory(prefix="ichor-pg-") as folder:
        cluster = PostgresCluster(Path(folder))
        cluster.create()
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture(scope="session")
def postgres_catalogue_url(postgres: PostgresCluster) -> str:
    """A database that tests share, one after the other, each with empty tables: a new one costs a second."""
    return postgres.new_database()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def backend(request: pytest.FixtureRequest) -> str:
    """Each database in turn."""
    return str(request.param)


@pytest.fixture
def catalogue_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty catalogue, on SQLite and then on PostgreSQL."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path}/catalogue.sqlite"
    url: str = request.getfixturevalue("postgres_catalogue_url")
    catalogue = Catalogue.open(url)
    tables = ", ".join(Base.metadata.tables)
    with catalogue.write() as session:
        session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    catalogue.close()
    return url


@pytest.fixture
def virgin_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, on SQLite and then on PostgreSQL."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path}/catalogue.sqlite"
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    return cluster.new_database()


@pytest.fixture
def catalogue(catalogue_url: str) -> Iterator[Catalogue]:
    """An open, empty catalogue."""
    opened = Catalogue.open(catalogue_url)
    yield opened
    opened.close()
