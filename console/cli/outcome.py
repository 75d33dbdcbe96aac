"""Exit codes of the `ichor` command; scripts hold on to them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_ANALYSED = 3
