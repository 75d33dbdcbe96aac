"""When a series or study counts as complete: the catalogue decides by its own clock, the queue is only woken.

DESIGN: settling is the last resort and always there; a released association only lets an analysis begin earlier. A
Redis that does not answer costs nothing but time: the jobs stand in the catalogue, and the reconciler issues their
wake-ups again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue.early import ask_early
from ichor.catalogue.lanes import StatRule
from ichor.catalogue.settling import settle
from ichor.errors import QueueUnreachable
from ichor.jobs import QUEUE_ANALYSE, wake

if TYPE_CHECKING:
    from celery import Celery

    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

log = structlog.get_logger(__name__)

TICK_S = 0.5
"""Time between two looks; a fraction of `settle_s`, so that it adds little to the time to a result."""


def tick(catalogue: Catalogue, settings: Settings, client: Celery) -> int:
    """Settle what is quiet and wake the analysis workers; return the number of jobs enqueued."""
    with catalogue.write() as session:
        stat = StatRule(callers=settings.lanes.stat_callers, words=settings.lanes.stat_words)
        enqueued = settle(
            session,
            settle_s=settings.completeness.settle_s,
            study_settle_s=settings.completeness.study_settle_s,
            stat=stat,
        )
        enqueued += ask_early(session, stat=stat)
    for _ in range(enqueued):
        try:
            wake(client, QUEUE_ANALYSE)
        except QueueUnreachable:
            log.warning("wake_up_not_sent", queue=QUEUE_ANALYSE, jobs=enqueued)
            break
    return enqueued
