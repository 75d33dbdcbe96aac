"""Nothing outlives its parent, and what died comes back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from console.children import FIRST_PAUSE_S, Child, ChildSpec
from console.leash import leashed
from tests.peers.programs import wait_until

PARENT = """
import os, subprocess, sys, time
from console.leash import leashed
child = subprocess.Popen(leashed([sys.executable, "-c", "import time; time.sleep(60)"], parent_pid=os.getpid()))
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is a Linux facility")
def test_child_dies_with_a_killed_parent() -> None:
    """A supervisor that is killed outright leaves no orphan."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, timeout_s=5, what="death")


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is a Linux facility")
def test_child_of_a_parent_already_dead_does_not_start() -> None:
    """A child whose parent is not the one it was meant for ends at once."""
    program = [sys.executable, "-c", "print('ran')"]
    answer = subprocess.run(leashed(program, parent_pid=1), capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stdout == ""


def child(code: str) -> Child:
    """Describe a child that runs a line of Python."""
    return Child(spec=ChildSpec(name="test", argv=(sys.executable, "-c", code)), environ=os.environ)


def test_dead_child_is_started_again_after_a_growing_pause() -> None:
    """A child that dies young comes back, each time a little later."""
    dying = child("pass")
    dying.start()
    first = dying.process
    assert first is not None
    first.wait()
    dying.keep_alive()
    assert dying.pause_s == 2 * FIRST_PAUSE_S
    dying.keep_alive()
    assert not dying.running()  # not before its pause is over
    time.sleep(FIRST_PAUSE_S)
    dying.keep_alive()
    second = dying.process
    assert second is not None
    assert second.pid != first.pid
    second.wait()


def test_stubborn_child_is_killed_with_its_group() -> None:
    """A child that does not listen to SIGTERM is killed, and its own children with it."""
    stubborn = child(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    stubborn.start()
    assert stubborn.process is not None
    process = psutil.Process(stubborn.process.pid)
    wait_until(lambda: bool(process.children()), what="the grandchild")
    (grandchild,) = process.children()
    assert stubborn.stop(until_s=time.monotonic() + 0.2) is False
    wait_until(lambda: not Path(f"/proc/{grandchild.pid}").exists() or grandchild.status() == psutil.STATUS_ZOMBIE)
