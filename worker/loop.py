"""The loop of a worker: claim the most urgent ready job, again and again, until none is ready or the worker is to stop.

The Celery message says nothing but "look"; the catalogue says what. This is one of the two places that catch broadly:
every error goes through the table of `worker.disposition`.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from ichor.catalogue import jobs
from ichor.errors import CatalogueUnreachable, LeaseLost
from ichor.log import hashed_uid
from ichor.metrics import NodeMetrics
from worker.disposition import Disposition, backoff_s, disposition, error_code, error_text
from worker.lease import Lease

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from sqlalchemy.orm import Session

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import Job, JobKind, Queue
    from ichor.settings import JobSettings

log = structlog.get_logger(__name__)

FAIR_EVERY = 5
"""Of so many jobs one goes by waiting time; the others by urgency alone."""
LONGEST_OUTAGE_S = 3600.0
"""For so long an outcome waits for a catalogue that is away; then the lease runs out as a dead worker's does."""


class Handler(Protocol):
    """Does one kind of job."""

    def run(self, job: Job, lease: Lease) -> None:
        """Do it, and close the job in the transaction that makes its outcome known."""


def owner_name(queue: Queue) -> str:
    """Give the name under which this process holds the leases of a queue."""
    return f"{socket.gethostname()}:{os.getpid()}:{queue}"


class Worker:
    """One process's work on one queue: one job at a time."""

    def __init__(
        self,
        catalogue: Catalogue,
        settings: JobSettings,
        queue: Queue,
        handlers: Mapping[JobKind, Handler],
        *,
        stop: threading.Event,
        after_job: Callable[[Job], None],
        metrics: NodeMetrics | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._queue = queue
        self._handlers = handlers
        self._stop = stop
        self._after_job = after_job
        self.owner = owner_name(queue)
        self._claims = 0
        self._metrics = NodeMetrics() if metrics is None else metrics
        self.at_work_on: int | None = None
        """The job in hand, for the heartbeat."""

    def drain(self) -> int:
        """Work until nothing is ready or a stop was asked for; return how many jobs were taken."""
        taken = 0
        while not self._stop.is_set():
            job = self._claim()
            if job is None:
                break
            taken += 1
            self.at_work_on = job.id
            try:
                self.work(job)
            finally:
                self.at_work_on = None
            self._after_job(job)
        return taken

    def work(self, job: Job) -> None:
        """Do one claimed job; whatever happens, the catalogue knows afterwards."""
        with structlog.contextvars.bound_contextvars(study=hashed_uid(job.study_instance_uid)):
            log.info("job_started", **job.log_context())
            lease = Lease(self._catalogue, job, self._settings)
            try:
                with lease:
                    self._handlers[job.kind].run(job, lease)
                self._metrics.jobs_ended.labels(job.kind, "done").inc()
            except Exception as error:  # noqa: BLE001 - the edge: every type has its disposition
                self._dispose(job, error, away=lease.catalogue_was_away)

    def _claim(self) -> Job | None:
        """Take the most urgent job; every fifth time the one that has waited too long, so that routine goes on."""
        self._claims += 1
        fair = self._claims % FAIR_EVERY == 0
        with self._catalogue.write() as session:
            return jobs.claim(
                session,
                queue=self._queue,
                owner=self.owner,
                ttl_s=self._settings.lease_ttl_s,
                max_attempts=self._settings.max_attempts,
                waiting_for_s=self._settings.routine_wait_s if fair else None,
            )

    def _dispose(self, job: Job, error: Exception, *, away: bool) -> None:
        """Write what becomes of the job; where the catalogue is away, as soon as it answers."""
        decided = disposition(error, job, self._settings)
        self._metrics.jobs_ended.labels(job.kind, decided.name.lower()).inc()
        code, text = error_code(error), error_text(error)
        log.warning("job_ended_in_error", error=code, text=text, disposition=decided.name.lower(), **job.log_context())
        away = away or isinstance(error, CatalogueUnreachable)
        given_up_s = time.monotonic() + LONGEST_OUTAGE_S
        while True:
            try:
                with self._catalogue.write() as session:
                    self._record(session, job, decided, error, away=away)
            except CatalogueUnreachable:
                away = True
                # Without a catalogue there is nothing else to do. The beat is another thread's, and goes on.
                if self._stop.wait(self._settings.heartbeat_s) or time.monotonic() > given_up_s:
                    raise
            else:
                return

    def _record(self, session: Session, job: Job, decided: Disposition, error: Exception, *, away: bool) -> None:
        settings, owner = self._settings, job.lease_owner
        code, text = error_code(error), error_text(error)
        try:
            match decided:
                case Disposition.RELEASE:
                    jobs.release_lease(session, job.id, owner)
                case Disposition.PUT_OFF:
                    jobs.release_lease(session, job.id, owner, delay_s=settings.backoff_base_s)
                case Disposition.RETRY:
                    delay_s = backoff_s(job.attempt, settings)
                    jobs.retry_later(session, job.id, owner, error_code=code, error_text=text, delay_s=delay_s)
                case Disposition.FAIL:
                    jobs.fail(session, job.id, owner, error_code=code, error_text=text)
                case Disposition.ABANDON if away:  # unless nobody has taken it yet
                    jobs.release_lease(session, job.id, owner)
        except LeaseLost:
            log.warning("lease_lost", **job.log_context())
            if away:
                jobs.excuse(session, job.id, owner)
