"""Answers to storage commitment requests that a peer brings to us (PS3.4 J.3.3), as rows of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import commitments
from ichor.errors import IchorError, PeerRejected, RowNotFound
from ichor.peers.commitment import answer_of

if TYPE_CHECKING:
    from pynetdicom import evt

    from ichor.catalogue.engine import Catalogue

log = structlog.get_logger(__name__)

COMMITMENT_CLASS = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.21: the peer may come again
INVALID_ARGUMENT_VALUE = 0x0115  # PS3.7 C.5.9: nobody asked for this


def on_report(event: evt.Event, catalogue: Catalogue) -> tuple[int, None]:
    """Answer an N-EVENT-REPORT once it is in the catalogue."""
    context = {"calling_ae": str(event.assoc.requestor.ae_title)}
    try:
        answer = answer_of(event.event_information)
        with catalogue.write() as session:
            commitments.answered(session, answer.transaction_uid, committed=answer.committed, failed=answer.failed)
    except (RowNotFound, PeerRejected) as error:
        log.warning("commitment_answer_refused", **context, code=error.code)
        return INVALID_ARGUMENT_VALUE, None
    except IchorError as error:
        log.warning("commitment_answer_not_written", **context, code=error.code)
        return PROCESSING_FAILURE, None
    log.info("commitment_answered", **context, committed=len(answer.committed), failed=len(answer.failed))
    return SUCCESS, None
