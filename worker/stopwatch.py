"""How long each step took, in seconds, for the timing section of a result."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Stopwatch:
    """Adds up laps by name; starts from laps taken before."""

    def __init__(self, before_s: Mapping[str, float] | None = None) -> None:
        self._laps_s = dict(before_s or {})

    @property
    def laps_s(self) -> dict[str, float]:
        """Seconds by name, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self._laps_s.items()}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time a block; a name that comes again adds up."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self._laps_s[name] = self._laps_s.get(name, 0.0) + time.perf_counter() - started_s
