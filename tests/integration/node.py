"""A whole node for tests: `ichor serve` as a subprocess, with its own data directory and free ports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.peers.programs import LOOPBACK, free_port

READY_S = 60.0
SECRET = "a shared secret of this test"


def destination(name: str, host: str, port: int, ae_title: str, send: str = '["seg", "sr", "summary"]') -> str:
    """Give the settings of a PACS."""
    return (
        f'[[destinations]]\nname = "{name}"\ntype = "dimse"\nhost = "{host}"\nport = {port}\n'
        f'ae_title = "{ae_title}"\nsend = {send}\n'
    )


def webhook(url: str) -> str:
    """Give the settings of an alert channel that signs with `SECRET`."""
    return f'[[alerts]]\nname = "on-call"\ntype = "webhook"\nurl = "{url}"\nsecret = "{SECRET}"\n'


class Node:
    """`ichor serve`, started with a TOML file made of its own defaults and the text given."""

    def __init__(self, folder: Path, *, extra_toml: str, model: str, members: int, settle_s: float = 3.0) -> None:
        self.dicom_port, self.http_port = free_port(), free_port()
        self.folder = folder
        self.config = folder / "ichor.toml"
        self.log = folder / "serve.log"
        self.config.write_text(
            f'data_dir = "{folder / "data"}"\n'
            f'[dicom]\nhost = "{LOOPBACK}"\nport = {self.dicom_port}\n'
            f'[http]\nhost = "{LOOPBACK}"\nport = {self.http_port}\n'
            f'[analysis]\nmodel = "{model}"\nmembers = {members}\n'
            f"[completeness]\nsettle_s = {settle_s}\nstudy_settle_s = {settle_s + 4}\n"
            f"[delivery]\nhold = false\n{extra_toml}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The root of the web application."""
        return f"http://{LOOPBACK}:{self.http_port}"

    def start(self) -> None:
        """Start it and wait until it can do its job."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "console.cli", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NO_COLOR": "1"},
            )
        self.wait(self.ready, READY_S)

    def stop(self) -> int:
        """Ask it to end, as an init system would, and give its exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def ready(self) -> bool:
        """Say whether /readyz is green."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def study(self, study_instance_uid: str) -> dict[str, Any]:
        """Get one study as the API tells it; empty while it is unknown."""
        answer = httpx.get(f"{self.url}/api/studies/{study_instance_uid}", timeout=10)
        return {} if answer.status_code == 404 else dict(answer.raise_for_status().json())

    def state(self, study_instance_uid: str) -> str:
        """Get the state of one study."""
        detail = self.study(study_instance_uid)
        return str(detail["study"]["state"]) if detail else ""

    def worker(self, queue: str) -> psutil.Process:
        """Find the worker process of a queue among the node's own children."""
        if self._process is None:
            raise RuntimeError("the node is not running")
        for child in psutil.Process(self._process.pid).children(recursive=True):
            arguments = child.cmdline()
            if "work" in arguments and queue in arguments:
                return child
        raise LookupError(queue)

    def wait(self, condition: Callable[[], bool], seconds: float) -> float:
        """Wait until `condition` holds and give the seconds it took; fail with the node's log where it does not."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            if condition():
                return time.monotonic() - start
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s; the node's log:\n{self.log.read_text()[-6000:]}")
