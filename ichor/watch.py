"""Asking a peer again and again, beside other work: one that is slow or away delays nothing but its own answers."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self

import structlog

from ichor.errors import IchorError

log = structlog.get_logger(__name__)

TICK_S = 1.0
PAUSE_S = 15.0
"""After a peer did not answer."""


class Watch(ABC):
    """Context manager; a thread ticks while it is open, where there is anybody to ask."""

    def __init__(self, name: str, *, asks: bool) -> None:
        self._name = name
        self._asks = asks
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)

    @abstractmethod
    def tick(self) -> int:
        """Ask once for everything that is new; return how many answers changed something. Raises IchorError."""

    def __enter__(self) -> Self:
        if self._asks:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._asks:
            self._thread.join()

    def _keep(self) -> None:
        pause_s = TICK_S
        while not self._over.wait(pause_s):
            try:
                self.tick()
                pause_s = TICK_S
            except IchorError as error:
                log.warning("not_asked", what=self._name, code=error.code)
                pause_s = PAUSE_S
