"""Whether routine studies are served while urgent ones come faster than they are done."""

from __future__ import annotations

import threading
from itertools import groupby
from typing import TYPE_CHECKING

from console.benchmark.figures import Figure
from console.benchmark.queued_studies import is_stat, queue_stat_study
from ichor.settings import JobSettings
from worker.loop import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import Job
    from worker.lease import Lease
    from worker.loop import Handler

AFTER = "routine studies, of all served while STAT studies keep coming"
BEFORE = "the same, before they have waited for routine_wait_s"
RUN = "STAT studies in a row while routine ones wait"
A_DAY_S = 86400.0


class Arrivals:
    """A handler that does a job with another one, and lets a STAT study arrive for each that is done."""

    def __init__(self, catalogue: Catalogue, handler: Handler, numbers: Iterator[int]) -> None:
        self._catalogue = catalogue
        self._handler = handler
        self._numbers = numbers
        self.served: list[str] = []

    def run(self, job: Job, lease: Lease) -> None:
        """Do the job, and let the next one come."""
        self._handler.run(job, lease)
        self.served.append(job.study_instance_uid)
        queue_stat_study(self._catalogue, next(self._numbers))


def measure_fairness(
    catalogue: Catalogue, handler: Handler, numbers: Iterator[int], *, jobs: int
) -> tuple[Figure, ...]:
    """Serve so many studies, twice, from a queue in which as many routine ones wait.

    `numbers` tells the STAT studies that come apart.
    """
    queue_stat_study(catalogue, next(numbers))
    patient = serve(catalogue, handler, numbers, jobs=jobs, routine_wait_s=A_DAY_S)
    fair = serve(catalogue, handler, numbers, jobs=jobs, routine_wait_s=0.0)
    in_a_row = max(len(list(group)) for stat, group in groupby(fair, key=is_stat) if stat)
    return (
        Figure(what=AFTER, value=share_of_routine(fair), unit="%"),
        Figure(what=BEFORE, value=share_of_routine(patient), unit="%"),
        Figure(what=RUN, value=in_a_row, unit="studies"),
    )


def serve(
    catalogue: Catalogue, handler: Handler, numbers: Iterator[int], *, jobs: int, routine_wait_s: float
) -> list[str]:
    """Let the loop of a worker do so many jobs; give their studies in order."""
    arrivals, stop = Arrivals(catalogue, handler, numbers), threading.Event()

    def after_job(_job: Job) -> None:
        if len(arrivals.served) == jobs:
            stop.set()

    settings = JobSettings(routine_wait_s=routine_wait_s)
    Worker(catalogue, settings, "analyse", {"analyse": arrivals}, stop=stop, after_job=after_job).drain()
    return arrivals.served


def share_of_routine(served: list[str]) -> float:
    """Give how many of these studies were routine, in percent."""
    return 100.0 * sum(not is_stat(uid) for uid in served) / len(served)
