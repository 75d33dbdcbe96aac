"""What Redis forgot is said again: as long as work is ready and nobody has been woken for it, wake somebody.

A wake-up lets a worker do everything that is ready, so one message in the queue is enough however much there is to do;
one more for each further ready job, up to a few, lets further workers join in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import jobs
from ichor.jobs import waiting, wake

if TYPE_CHECKING:
    from celery import Celery

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import Queue
    from ichor.settings import Settings

log = structlog.get_logger(__name__)

QUEUES: tuple[Queue, ...] = ("analyse", "deliver")
MOST_WAITING = 8
"""Wake-ups in a queue at most; more workers than these join in over the next ticks."""


def tick(catalogue: Catalogue, settings: Settings, client: Celery) -> int:  # noqa: ARG001 - one signature for ticks
    """Re-issue what is missing; return the number of wake-ups sent. Raises QueueUnreachable, CatalogueUnreachable."""
    with catalogue.read() as session:
        ready = {queue: jobs.ready_count(session, queue) for queue in QUEUES}
        if jobs.failed_without_result(session):
            ready["analyse"] += 1  # a worker of that queue tells of it
    sent = 0
    for queue in QUEUES:
        missing = min(ready[queue], MOST_WAITING) - waiting(client, queue)
        for _ in range(missing):
            wake(client, queue)
            sent += 1
    if sent:
        log.debug("woken_again", count=sent)
    return sent
