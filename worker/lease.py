"""A claimed job stays ours while we work: a thread renews the lease, and says when it was lost.

The catalogue's clock decides. Where the catalogue cannot be reached for as long as a lease lives, the lease counts as
lost: another worker may have the job by then, so nothing is published.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import structlog

from ichor.catalogue import jobs
from ichor.errors import LeaseLost, TransientError

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import Job
    from ichor.settings import JobSettings

log = structlog.get_logger(__name__)

SETTLING_S = 0.5


class Lease:
    """Context manager round the work on one job."""

    def __init__(self, catalogue: Catalogue, job: Job, settings: JobSettings) -> None:
        self._catalogue = catalogue
        self._job = job
        self._settings = settings
        self._over = threading.Event()
        self._lost = threading.Event()
        self.catalogue_was_away = False
        """Whether it could not be renewed because the catalogue did not answer."""
        self._thread = threading.Thread(target=self._keep, name=f"lease-{job.id}", daemon=True)

    def check(self) -> None:
        """Raise LeaseLost where another worker may hold the job now."""
        if self._lost.is_set():
            raise LeaseLost

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        renewed_at_s = time.monotonic()
        while not self._over.wait(self._settings.heartbeat_s):
            try:
                with self._catalogue.write() as session:
                    ours = jobs.renew(session, self._job.id, self._job.lease_owner, self._settings.lease_ttl_s)
            except TransientError as error:
                log.warning("lease_not_renewed", error=error.code, **self._job.log_context())
                self.catalogue_was_away = True
                ours = time.monotonic() - renewed_at_s < self._settings.lease_ttl_s
            else:
                renewed_at_s = time.monotonic()
            if not ours:
                self._lost.set()
                if not self._over.wait(SETTLING_S):  # a job that has just been closed is no longer ours either
                    log.warning("lease_lost", **self._job.log_context())
                return
