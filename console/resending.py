"""Sending a delivery again that failed for good, as a person asks for it after the fault was mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import outbox
from ichor.errors import QueueUnreachable
from ichor.jobs import QUEUE_DELIVER, celery_client, wake

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

log = structlog.get_logger(__name__)


def ask_for_resend(
    settings: Settings, catalogue: Catalogue, study_instance_uid: str, delivery_id: int, *, by: str
) -> int:
    """Enqueue the delivery for the user who asked and give the job's id; raise RowNotFound, NotResendable."""
    with catalogue.write() as session:
        job_id = outbox.resend(session, study_instance_uid, delivery_id, by=by)
    try:
        wake(celery_client(settings), QUEUE_DELIVER)
    except QueueUnreachable:
        log.warning("wake_up_left_to_reconciler", job_id=job_id)
    return job_id
