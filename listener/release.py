"""What an association brought, told to the catalogue when it is released: the earliest sign that a series is whole.

A scanner that opens an association for every slice says nothing with its release, so only series of which one
association brought as many slices as a thick-sliced head has are told of; the others wait until they settle.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    from listener.header import Header

LEAST_SLICES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReleased:
    """The association that brought a series' slices was released."""

    study_instance_uid: str
    series_instance_uid: str


class Consignment:
    """Counts what one association or request brought; from any number of threads."""

    def __init__(self, tell: Callable[[SeriesReleased], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._slices: Counter[SeriesReleased] = Counter()

    def note(self, header: Header) -> None:
        """Count one instance that was taken in."""
        series = SeriesReleased(
            study_instance_uid=header.study_instance_uid, series_instance_uid=header.series_instance_uid
        )
        with self._lock:
            self._slices[series] += 1

    def release(self) -> None:
        """Tell of the series that came."""
        for series, count in self._slices.items():
            if count >= LEAST_SLICES:
                self._tell(series)


class Consignments:
    """The consignments of open associations; one that breaks off is never released, and forgotten with it."""

    def __init__(self, tell: Callable[[SeriesReleased], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._open: WeakKeyDictionary[object, Consignment] = WeakKeyDictionary()

    def of(self, association: object) -> Consignment:
        """Give the consignment of an association."""
        with self._lock:
            return self._open.setdefault(association, Consignment(self._tell))
