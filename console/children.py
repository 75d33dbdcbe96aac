"""A child process of the node: started on a leash, restarted with a growing pause, stopped as a process group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from console.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A child that ran this long starts again at once when it dies."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run, and under which name it is spoken of."""

    name: str
    argv: tuple[str, ...]
    descriptors: tuple[int, ...] = ()
    """What it inherits beside its standard streams, under the same numbers."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One child with its fate. All methods are called from the supervisor's main thread (the leash hangs on it)."""

    spec: ChildSpec
    environ: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at_s: float = field(default=0.0, init=False)
    due_at_s: float = field(default=0.0, init=False)
    pause_s: float = field(default=FIRST_PAUSE_S, init=False)

    def start(self) -> None:
        """Start the program in a process group of its own, so that a Ctrl-C reaches only the supervisor."""
        self.process = subprocess.Popen(
            leashed(list(self.spec.argv), parent_pid=os.getpid()),
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # stdout is for what the supervisor says to people
            start_new_session=True,
            pass_fds=self.spec.descriptors,
        )
        self.started_at_s = time.monotonic()
        log.info("child_started", child=self.spec.name, pid=self.process.pid)

    def keep_alive(self) -> None:
        """Start again what has died, after a pause that doubles while the child keeps dying young."""
        now_s = time.monotonic()
        if self.process is None:
            if now_s >= self.due_at_s:
                self.start()
            return
        status = self.process.poll()
        if status is None:
            return
        self.signal_group(signal.SIGKILL)  # what a dead child left in its group is nobody's any more
        if now_s - self.started_at_s >= STEADY_S:
            self.pause_s = FIRST_PAUSE_S
        log.error("child_died", child=self.spec.name, pid=self.process.pid, status=status, restart_in_s=self.pause_s)
        self.process = None
        self.due_at_s = now_s + self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)

    def running(self) -> bool:
        """Say whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the child's whole process group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def stop(self, *, until_s: float) -> bool:
        """Wait until `until_s` (monotonic) for a child told to stop, then kill it; say whether it went by itself."""
        if self.process is None:
            return True
        try:
            self.process.wait(timeout=max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("child_killed", child=self.spec.name, pid=self.process.pid)
            self.signal_group(signal.SIGKILL)
            self.process.wait()
            return False
        self.signal_group(signal.SIGKILL)  # grandchildren, if any
        return True
