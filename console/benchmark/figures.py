"""One measured line, and the machine that it was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("ichor-node", "numpy", "pydicom", "pynetdicom", "torch")
GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value; `ratio` sets it against the line that is named as the peer."""

    what: str
    value: float
    unit: str
    ratio: float | None = None
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """The figures of one run."""

    title: str
    command: str
    machine: str
    versions: dict[str, str]
    figures: tuple[Figure, ...]


def benchmark(title: str, command: str, figures: tuple[Figure, ...]) -> Benchmark:
    """Put figures together with where they come from."""
    return Benchmark(
        title=title,
        command=command,
        machine=machine(),
        versions={name: version(name) for name in PACKAGES},
        figures=figures,
    )


def machine() -> str:
    """Describe this machine in one line."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = psutil.virtual_memory().total / GIB
    return (
        f"{processor()}, {cores} cores, {memory_gib:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
    )


def processor() -> str:
    """Name the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
