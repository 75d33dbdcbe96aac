"""A process that is short of something for a while, by its own limits (setrlimit)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_MIB = 2**20


@contextmanager
def little_memory(spare_bytes: int) -> Iterator[None]:
    """Let this process have no more than `spare_bytes` of memory beyond what it uses.

    What it once used and freed stays in its address space (malloc keeps it), enough for a large array after some
    tests and not after others: this is taken first, and given back at the end.
    """
    with _limited(resource.RLIMIT_AS, _address_space_bytes() + _MIB):
        kept = _all_that_is_free()
    with _limited(resource.RLIMIT_AS, _address_space_bytes() + spare_bytes):
        try:
            yield
        finally:
            kept.clear()


def _address_space_bytes() -> int:
    return int(psutil.Process().memory_info().vms)


def _all_that_is_free() -> list[bytearray]:
    """Take blocks, the largest first, until not even a MiB is to be had."""
    taken: list[bytearray] = []
    block_bytes = 1024 * _MIB
    while block_bytes >= _MIB:
        try:
            taken.append(bytearray(block_bytes))
        except MemoryError:
            block_bytes //= 2
    return taken


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no further file."""
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    with _limited(resource.RLIMIT_NOFILE, lowest_free):
        yield


@contextmanager
def _limited(what: int, most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))
