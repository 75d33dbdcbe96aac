"""Run a program that dies with its parent: `python -m console.leash PARENT_PID -- PROGRAM ARG...`.

The supervisor starts every child through this, so that nothing of the node outlives a supervisor that was killed
outright. Linux only (prctl(2), PR_SET_PDEATHSIG survives execve); elsewhere the program is run without the leash.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def leashed(argv: list[str], *, parent_pid: int) -> list[str]:
    """Give the command line that runs `argv` on a leash held by `parent_pid`."""
    # -P: a file named like one of our packages in the working directory must not be imported in its place.
    return [sys.executable, "-P", "-m", "console.leash", str(parent_pid), "--", *argv]


def main(argv: list[str]) -> None:
    """Tie this process to its parent and become the program."""
    parent_pid, program = int(argv[0]), argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # the parent died before the leash was on
            raise SystemExit(1)
    os.execvp(program[0], program)  # noqa: S606 - an argument list; no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
