"""Keeps glibc from handing large blocks back to the kernel between two uses.

A network on a CPU takes and frees blocks of tens of megabytes thousands of times. glibc maps each one afresh, and the
kernel clears every page again: a quarter of the run. Elsewhere than on glibc nothing is changed.
"""

from __future__ import annotations

import ctypes
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# malloc.h, glibc: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_DEFAULT_TRIM, _DEFAULT_MMAP, _DEFAULT_MMAPS = 128 * 1024, 128 * 1024, 65_536
_WITHIN_INT = 2**31 - 1


@contextmanager
def steady_heap() -> Iterator[None]:
    """Serve large blocks from the heap inside the context; on leaving give what is free back to the kernel."""
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is None:
        yield
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _WITHIN_INT)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, _DEFAULT_MMAPS)
        libc.mallopt(_M_MMAP_THRESHOLD, _DEFAULT_MMAP)
        libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_TRIM)
        libc.malloc_trim(ctypes.c_size_t(0))
