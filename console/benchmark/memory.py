"""The most memory that a piece of work held at once."""

from __future__ import annotations

import threading
from typing import Self

import psutil

SAMPLE_S = 0.02


class PeakMemory:
    """Context manager that watches this process's resident memory from a thread; `peak_bytes` is set on leaving."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
            if self._done.wait(SAMPLE_S):
                return
