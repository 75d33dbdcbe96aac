"""Fixtures of the model tests: the golden window, a spec that tests may vary, a loopback file server."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.registry import SHIPPED_SPECS
from tests.peers.programs import missing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def golden() -> dict[str, npt.NDArray[Any]]:
    """The original implementation's answer on one window: $ICHOR_GOLDEN, else ../shared/golden beside the checkout."""
    path = Path(os.environ.get("ICHOR_GOLDEN") or ROOT.parent / "shared" / "golden") / "blast_ct_v1_tile.npz"
    if not path.is_file():
        missing(f"no golden window at {path}; set ICHOR_GOLDEN")
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture
def blast_json() -> dict[str, Any]:
    """The shipped spec of blast-ct-v1 as plain JSON, for tests to damage."""
    plain: dict[str, Any] = json.loads((SHIPPED_SPECS / "blast-ct-v1.json").read_text())
    return plain


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing."""


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server on loopback; yields its address and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()
    thread.join()
