"""Fixtures that every test may use: test data, weights, and real peers on free loopback ports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.peers.orthanc import Orthanc
from tests.peers.programs import missing
from tests.peers.recording import RecordingScp
from tests.peers.redis import RedisServer
from tests.peers.storescp import Storescp
from tests.peers.webhook import WebhookServer

ROOT = Path(__file__).resolve().parents[1]


def _outside_folder(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable) or ROOT.parent / "shared" / name)
    if not folder.is_dir():
        missing(f"no {name} at {folder}; set {variable}")
    return folder


@pytest.fixture(scope="session")
def test_data_dir() -> Path:
    """The folder of real test series: $ICHOR_TEST_DATA, else ../shared/data beside the checkout."""
    return _outside_folder("ICHOR_TEST_DATA", "data")


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The folder of published weights: $ICHOR_WEIGHTS, else ../shared/weights beside the checkout."""
    return _outside_folder("ICHOR_WEIGHTS", "weights")


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder with a short path, for what holds a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="ichor-") as folder:
        yield Path(folder)


@pytest.fixture
def redis_server(short_dir: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own."""
    server = RedisServer(short_dir)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_orthanc(tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """Start an Orthanc with options, such as `overwrite_instances=True`; each one ends with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Orthanc:
            server = Orthanc(Path(tempfile.mkdtemp(dir=tmp_path)), **options)
            stack.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def orthanc(start_orthanc: Callable[..., Orthanc]) -> Orthanc:
    """An Orthanc of this test's own, which replaces an instance that comes again."""
    return start_orthanc(overwrite_instances=True)


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[Storescp]:
    """A storage SCP of dcmtk's: stores, and offers no query."""
    server = Storescp(Path(tempfile.mkdtemp(dir=tmp_path)))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def recording_scp() -> Iterator[RecordingScp]:
    """A storage and query SCP that remembers the bytes of every data set."""
    server = RecordingScp()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def webhook_server() -> Iterator[WebhookServer]:
    """An HTTP server that remembers every alert."""
    server = WebhookServer()
    server.start()
    yield server
    server.stop()
