"""A peer that takes results by C-STORE and proves arrival by C-FIND or storage commitment.

Statuses as PS3.4 B.2.3 and PS3.7 C.5 have them: 0000 and Bxxx are stored, A7xx (out of resources) comes again, 0111
(duplicate SOP instance) counts only where a query finds the object, all else is refused for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.peers import dimse
from ichor.peers.tls import client_context, tls_of
from worker.deliver.commitment import Commitments
from worker.deliver.destination import Outcome, Reception
from worker.deliver.header import by_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import DeliveryObjectRow, DeliveryRow
    from ichor.settings import DimseDestination

DUPLICATE = 0x0111  # PS3.7 C.5.6


class DimsePeer:
    """One DIMSE destination; raises SettingsError where its certificates cannot be used."""

    def __init__(
        self, settings: DimseDestination, catalogue: Catalogue, *, calling_ae_title: str, confirm_timeout_s: float
    ) -> None:
        self._asks = settings.confirm != "none"
        self._peer = dimse_peer(settings, calling_ae_title=calling_ae_title)
        if self._peer.tls is not None:
            client_context(settings.name, self._peer.tls)  # what cannot be used is said at the start
        # Half of the time to prove arrival is left to the query.
        self._commitments = (
            Commitments(catalogue, self._peer, patience_s=confirm_timeout_s / 2)
            if settings.confirm == "commitment"
            else None
        )

    @property
    def asks(self) -> bool:
        """Whether the settings want a proof after sending."""
        return self._asks

    def send(self, items: Sequence[DeliveryObjectRow]) -> Iterator[Outcome]:
        """Send over one association."""
        by_path = {item.path: item for item in items}
        for stored in dimse.store(self._peer, [item.path for item in items]):
            yield Outcome(item=by_path[stored.path], reception=_reception(stored), status=stored.status)

    def arrived(self, delivery: DeliveryRow, items: Sequence[DeliveryObjectRow]) -> frozenset[str]:
        """Ask for commitment where that is configured, else, or where it leads nowhere, at IMAGE level."""
        if self._commitments is not None:
            committed = self._commitments.committed(delivery, items)
            if committed is not None:
                return committed
        return dimse.stored_instances(self._peer, delivery.study_instance_uid, by_series(items))


def dimse_peer(settings: DimseDestination, *, calling_ae_title: str) -> dimse.Peer:
    """Give the peer that a destination's settings describe."""
    return dimse.Peer(
        host=settings.host,
        port=settings.port,
        ae_title=settings.ae_title,
        calling_ae_title=calling_ae_title,
        timeout_s=settings.timeout_s,
        tls=tls_of(settings),
        tls_name=settings.tls_name,
    )


def _reception(outcome: dimse.StoreOutcome) -> Reception:
    if outcome.stored:
        return Reception.TAKEN
    if outcome.status == DUPLICATE:
        return Reception.HELD_ALREADY
    return Reception.LATER if outcome.transient else Reception.REFUSED
