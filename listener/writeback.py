"""Asking the kernel to begin with the disk's work, so that it is half done when the sync waits for it.

sync_file_range(2) promises nothing and is no sync: fdatasync(2) follows in any case. Linux alone has it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin, and wait for nothing


def begin_writeback(descriptor: int) -> None:
    """Let the disk begin with everything that was written to a file; what goes wrong is for its sync to find."""
    call = _sync_file_range()
    if call is not None:
        call(descriptor, 0, 0, _WRITE)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call
