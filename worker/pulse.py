"""A worker's sign of life: a thread that writes a beat into the catalogue, also while a model runs for minutes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import structlog

from ichor.catalogue import beats
from ichor.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ichor.catalogue.engine import Catalogue

log = structlog.get_logger(__name__)


class Pulse:
    """Context manager; beats at once and then every `interval_s`."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        name: str,
        kind: str,
        interval_s: float,
        detail: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self._catalogue = catalogue
        self._name = name
        self._kind = kind
        self._interval_s = interval_s
        self._detail = detail
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        while True:
            try:
                with self._catalogue.write() as session:
                    beats.beat(session, self._name, self._kind, self._detail())
            except TransientError as error:
                log.warning("beat_not_written", error=error.code)
            if self._over.wait(self._interval_s):
                return
