"""A peer that takes results by STOW-RS and proves arrival by QIDO-RS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.peers import dicomweb
from ichor.peers.tls import certificates_of, client_context
from worker.deliver.destination import Outcome, Reception
from worker.deliver.header import by_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ichor.catalogue.records import DeliveryObjectRow, DeliveryRow
    from ichor.settings import DicomwebDestination


class DicomwebPeer:
    """One DICOMweb destination; raises SettingsError where its certificates cannot be used."""

    def __init__(self, settings: DicomwebDestination) -> None:
        self._asks = settings.confirm == "query"
        self._peer = web_peer(settings)
        client_context(self._peer.name, self._peer.certificates)  # what cannot be used is said at the start

    @property
    def asks(self) -> bool:
        """Whether the settings want a QIDO-RS query after sending."""
        return self._asks

    def send(self, items: Sequence[DeliveryObjectRow]) -> Iterator[Outcome]:
        """Post one object after the other over one connection."""
        by_path = {item.path: item for item in items}
        for stored in dicomweb.store(self._peer, [(item.path, item.sop_instance_uid) for item in items]):
            yield Outcome(item=by_path[stored.path], reception=_reception(stored), status=stored.status)

    def arrived(self, delivery: DeliveryRow, items: Sequence[DeliveryObjectRow]) -> frozenset[str]:
        """Ask for each instance in its series."""
        return dicomweb.stored_instances(self._peer, delivery.study_instance_uid, by_series(items))


def web_peer(settings: DicomwebDestination) -> dicomweb.WebPeer:
    """Give the peer that a destination's settings describe."""
    return dicomweb.WebPeer(
        name=settings.name,
        url=settings.url,
        token=settings.token.get_secret_value(),
        certificates=certificates_of(settings),
        timeout_s=settings.timeout_s,
    )


def _reception(outcome: dicomweb.StowOutcome) -> Reception:
    if outcome.stored:
        return Reception.TAKEN
    if outcome.duplicate:
        return Reception.HELD_ALREADY
    return Reception.LATER if outcome.transient else Reception.REFUSED
