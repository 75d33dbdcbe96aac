"""Asking for an analysis again: the job goes into the catalogue, the wake-up to Redis where it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import views
from ichor.errors import QueueUnreachable
from ichor.jobs import QUEUE_ANALYSE, celery_client, wake

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

log = structlog.get_logger(__name__)


def ask_for_retry(
    settings: Settings, catalogue: Catalogue, study_instance_uid: str, *, force: bool, by: str = ""
) -> int:
    """Enqueue the study's analysis and give the job's id; raise StudyNotFound.

    `by` is the user who asked; empty for the operator at the command line.
    """
    with catalogue.write() as session:
        job_id = views.request_retry(session, study_instance_uid, force=force, by=by)
    try:
        wake(celery_client(settings), QUEUE_ANALYSE)
    except QueueUnreachable:
        log.warning("wake_up_left_to_reconciler", job_id=job_id)
    return job_id
