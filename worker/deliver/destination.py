"""The seam to the systems that take results: bytes go out as stored, one outcome comes back for each object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from ichor.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ichor.catalogue.records import DeliveryObjectRow, DeliveryRow


class Reception(Enum):
    """What a peer did with an object."""

    TAKEN = auto()  # it says that it has stored it
    HELD_ALREADY = auto()  # it has something under this UID; only a query proves anything
    LATER = auto()  # not now
    REFUSED = auto()  # never


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one object; `status` is the DIMSE or HTTP status."""

    item: DeliveryObjectRow
    reception: Reception
    status: int


class Destination(Protocol):
    """A system that takes results."""

    @property
    def asks(self) -> bool:
        """Whether arrival is to be proven by asking the peer."""

    def send(self, items: Sequence[DeliveryObjectRow]) -> Iterator[Outcome]:
        """Send stored files as they are, in order; raise PeerUnreachable where the connection breaks."""

    def arrived(self, delivery: DeliveryRow, items: Sequence[DeliveryObjectRow]) -> frozenset[str]:
        """Ask which SOP Instance UIDs the peer has; raise PeerOffersNoQuery where it cannot be asked."""


class DestinationUnknown(SettingsError):
    """The settings name no such destination."""

    code = "destination_unknown"
