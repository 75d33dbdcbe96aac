"""A web server over a catalogue of every outcome; and commands that set up logging, many in one test process."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import httpx
import pytest
import structlog

from console.users import password_hash
from ichor.catalogue.engine import Catalogue
from ichor.settings import Settings, load_settings
from tests.console.catalogue_of_outcomes import fill
from tests.console.running_web import PASSWORD, running_web

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a command did to the log: it writes to a stderr that is gone after its test."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def settings(short_dir: Path) -> Settings:
    """Settings of a node in a folder of this test's own."""
    hashed = password_hash(PASSWORD)
    users = [{"name": name, "password_hash": hashed} for name in ("Dr Night", "Dr Day")]
    return load_settings(None, environ={"ICHOR_DATA_DIR": str(short_dir / "data"), "ICHOR_USERS": json.dumps(users)})


@pytest.fixture
def web(settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    """A web server over a catalogue with one study of every outcome."""
    settings.data_dir.mkdir()
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    fill(catalogue, tmp_path / "files")
    with running_web(settings, catalogue) as address, httpx.Client(base_url=address, trust_env=False) as client:
        yield client
    catalogue.close()
