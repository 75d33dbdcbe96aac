"""One delivery job: send what is missing, prove that it arrived, and write down every step as it happens.

Each object's state goes into the catalogue before the next one is sent, so a worker that takes over sends only what is
missing. What a peer refuses for good does not keep the rest from it, and is named. `confirmed` is said only after the
peer was asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import jobs, outbox
from ichor.clock import utc_now
from ichor.errors import PeerOffersNoQuery, PeerRejected, TransientError
from ichor.metrics import NodeMetrics
from worker.deliver.destination import DestinationUnknown, Reception
from worker.deliver.status import NOT_OFFERED, status_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import DeliveryObjectRow, DeliveryRow, DeliveryState, Job, ObjectState
    from worker.deliver.destination import Destination, Outcome
    from worker.lease import Lease

log = structlog.get_logger(__name__)

ASKS = 3
ASK_PAUSE_S = 0.25
"""A PACS needs a moment before a query finds what it has just stored; after these, the job comes again."""
UNPROVEN_ATTEMPTS = 20
"""A peer that says "stored" and never shows it is given up after this many attempts."""
NO_QUERY = "The peer offers no query, so arrival is not proven."


class NotTakenNow(TransientError):
    """The peer has no room for the object now."""

    code = "peer_busy"


class NotYetShown(TransientError):
    """The peer took the objects and does not show them yet."""

    code = "peer_not_shown"


class DeliveryJob:
    """Runs jobs of kind `deliver`."""

    def __init__(
        self,
        catalogue: Catalogue,
        destinations: Mapping[str, Destination],
        *,
        confirm_timeout_s: float,
        metrics: NodeMetrics | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._destinations = destinations
        self._metrics = NodeMetrics() if metrics is None else metrics
        self._confirm_timeout = timedelta(seconds=confirm_timeout_s)

    def run(self, job: Job, lease: Lease) -> None:
        """Bring one delivery forward as far as the peer allows; raise where it has to come again."""
        delivery = self._read(job)
        if delivery.state in {"held", "confirmed", "failed", "withdrawn"}:
            with self._catalogue.write() as session:
                jobs.finish(session, job.id, job.lease_owner)
            return
        destination = self._destinations.get(delivery.destination)
        if destination is None:
            raise DestinationUnknown(f"The settings name no destination {delivery.destination}.")
        self._send(delivery, destination, lease)
        if job.attempt > 1:  # the peer is back
            with self._catalogue.write() as session:
                jobs.hasten_waiting(session, delivery.destination)
        delivery = self._read(job)
        proven = self._prove(job, delivery, destination)
        self._close(job, self._read(job), proven=proven)

    def _read(self, job: Job) -> DeliveryRow:
        with self._catalogue.read() as session:
            return outbox.delivery(session, _subject(job))

    def _send(self, delivery: DeliveryRow, destination: Destination, lease: Lease) -> None:
        missing = [item for item in delivery.objects if item.state == "pending"]
        if not missing:
            return
        busy: list[Outcome] = []
        for outcome in destination.send(missing):
            lease.check()
            self._metrics.objects_sent.labels(delivery.destination, outcome.reception.name.lower()).inc()
            if outcome.reception is Reception.LATER:
                busy.append(outcome)
                continue
            state: ObjectState = "failed" if outcome.reception is Reception.REFUSED else "sent"
            with self._catalogue.write() as session:
                outbox.mark_object(session, delivery.id, outcome.item.object_id, state, outcome.status)
        if busy:
            statuses = "; ".join(f"{outcome.item.kind}: {status_text(outcome.status)}" for outcome in busy)
            raise NotTakenNow(f"{delivery.destination} has no room now ({statuses}).")
        with self._catalogue.write() as session:
            outbox.mark_delivery(session, delivery.id, "sent")

    def _prove(self, job: Job, delivery: DeliveryRow, destination: Destination) -> bool:
        """Ask for what was sent; False where the peer cannot or need not be asked."""
        unproven = [item for item in delivery.objects if item.state == "sent"]
        if not destination.asks:
            return False
        for ask in range(ASKS):
            if not unproven:
                return True
            if ask > 0:
                time.sleep(ASK_PAUSE_S * 2**ask)
            try:
                shown = destination.arrived(delivery, unproven)
            except PeerOffersNoQuery:
                log.info("arrival_not_proven", destination=delivery.destination, **job.log_context())
                return False
            with self._catalogue.write() as session:
                for item in unproven:
                    if item.sop_instance_uid in shown:
                        outbox.mark_object(session, delivery.id, item.object_id, "confirmed", item.status_code)
            unproven = [item for item in unproven if item.sop_instance_uid not in shown]
        if unproven:
            self._come_again(job, delivery, unproven)
        return True

    def _come_again(self, job: Job, delivery: DeliveryRow, unproven: list[DeliveryObjectRow]) -> None:
        what = f"{delivery.destination} does not show {', '.join(item.kind for item in unproven)}"
        if job.attempt >= UNPROVEN_ATTEMPTS:
            raise PeerRejected(f"{what} although it said that it had stored it.")
        if utc_now() - delivery.updated_at > self._confirm_timeout:
            with self._catalogue.write() as session:
                outbox.mark_delivery(session, delivery.id, "pending")
                for item in unproven:
                    outbox.mark_object(session, delivery.id, item.object_id, "pending", item.status_code)
        raise NotYetShown(f"{what} yet.")

    def _close(self, job: Job, delivery: DeliveryRow, *, proven: bool) -> None:
        ending = _ending(delivery, proven=proven)
        with self._catalogue.write() as session:
            outbox.mark_delivery(session, delivery.id, ending.state, ending.text)
            jobs.finish(session, job.id, job.lease_owner)
        log.info("delivery_closed", destination=delivery.destination, state=ending.state, **job.log_context())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    state: DeliveryState
    text: str


def _ending(delivery: DeliveryRow, *, proven: bool) -> _Ending:
    """Say how a delivery ended, and what the peer lacks of it.

    What a peer does not offer at all, a SOP class or a transfer syntax, is no fault as long as the rest of its profile
    arrived: nobody has to mend anything. An object that it should take and refuses is one, and so is a peer that took
    nothing.
    """
    refused = delivery.refused
    texts = []
    if refused:
        texts.append(f"Refused: {'; '.join(f'{item.kind}: {status_text(item.status_code)}' for item in refused)}.")
        if len(refused) == len(delivery.objects) or any(item.status_code not in NOT_OFFERED for item in refused):
            return _Ending(state="failed", text=texts[0])
    if not proven:
        texts.append(NO_QUERY)
    return _Ending(state="confirmed" if proven else "sent", text=" ".join(texts))


def _subject(job: Job) -> int:
    if job.subject_id is None:
        raise PeerRejected("The job names no delivery.")
    return job.subject_id
