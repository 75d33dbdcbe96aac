"""Programs that tests talk to: found, started on free loopback ports, ended by their own process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, NoReturn, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"


def require(program: str) -> str:
    """Give the path of a program; without it the test is skipped here and fails in CI."""
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is not on PATH")
    return found


def missing(reason: str) -> NoReturn:
    """Skip for a missing service here, and fail for it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """Give a TCP port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback address."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(
    condition: Callable[[], bool], *, timeout_s: float = 20.0, what: str = "the condition", poll_s: float = 0.02
) -> None:
    """Poll until the condition holds; raise TimeoutError otherwise."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {timeout_s} s")
        time.sleep(poll_s)


class Program:
    """A child process of the test, with its output in a file; a context manager that ends it."""

    def __init__(self, command: Sequence[str], *, log: Path, environ: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._log = log
        self._environ = dict(environ) if environ is not None else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; raise RuntimeError where it does not run."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; output is appended to the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environ
            )

    def wait_for_port(self, port: int, *, timeout_s: float = 30.0) -> None:
        """Wait until it listens; raise RuntimeError with its output where it died instead."""
        wait_until(lambda: listens(port) or not self.running, timeout_s=timeout_s, what=f"port {port} open")
        self.check()

    def check(self) -> None:
        """Raise RuntimeError with the output where it is not running."""
        if not self.running:
            raise RuntimeError(f"{self._command[0]} ended:\n{self.output()[-3000:]}")

    def output(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace") if self._log.is_file() else ""

    def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, *, timeout_s: float = 10.0) -> int | None:
        """Ask it to end, insist after the timeout, and give its exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
