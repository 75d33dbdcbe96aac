"""A process that is short of something for a while, by its own limits (setrlimit)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def little_memory(spare_bytes: int) -> Iterator[None]:
    """Let this process have no more than `spare_bytes` of address space beyond what it has."""
    with _limited(resource.RLIMIT_AS, psutil.Process().memory_info().vms + spare_bytes):
        yield


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
