"""Proof of arrival by storage commitment (PS3.4 J): the peer takes responsibility for the objects, or does not.

The request is in the catalogue before it goes out. Its answer comes at once, on the same association, or later at the
listener, which writes it into the catalogue; a peer that stays silent is asked by query in the end.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import commitments
from ichor.errors import PeerOffersNoCommitment
from ichor.peers.commitment import request_commitment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import DeliveryObjectRow, DeliveryRow
    from ichor.peers.dimse import Peer

log = structlog.get_logger(__name__)

SAME_ASSOCIATION_S = 2.0
"""How long the association of a request stays open for an answer; most peers open one of their own."""


class Commitments:
    """Asks one peer, and reads what it answered."""

    def __init__(self, catalogue: Catalogue, peer: Peer, *, patience_s: float) -> None:
        self._catalogue = catalogue
        self._peer = peer
        self._patience_s = patience_s

    def committed(self, delivery: DeliveryRow, items: Sequence[DeliveryObjectRow]) -> frozenset[str] | None:
        """Give what the peer answers for, as far as it has answered; None where a query must do."""
        wanted = frozenset(item.sop_instance_uid for item in items)
        with self._catalogue.read() as session:
            last = commitments.latest(session, delivery.id)
        if last is not None and last.answered_at is None:
            return None if last.age_s > self._patience_s else frozenset()
        if last is not None and wanted <= last.committed:
            return wanted
        return self._ask(delivery, items)

    def _ask(self, delivery: DeliveryRow, items: Sequence[DeliveryObjectRow]) -> frozenset[str] | None:
        transaction_uid = f"2.25.{uuid.uuid4().int}"
        with self._catalogue.write() as session:
            commitments.ask(session, delivery.id, transaction_uid)
        references = [(item.sop_class_uid, item.sop_instance_uid) for item in items]
        try:
            answer = request_commitment(self._peer, transaction_uid, references, wait_s=SAME_ASSOCIATION_S)
        except PeerOffersNoCommitment:
            log.info("commitment_not_offered", destination=delivery.destination)
            self._forget(transaction_uid)
            return None
        except BaseException:
            self._forget(transaction_uid)
            raise
        if answer is None:
            return frozenset()
        with self._catalogue.write() as session:
            commitments.answered(session, transaction_uid, committed=answer.committed, failed=answer.failed)
        return answer.committed & {item.sop_instance_uid for item in items}

    def _forget(self, transaction_uid: str) -> None:
        with self._catalogue.write() as session:
            commitments.forget(session, transaction_uid)
