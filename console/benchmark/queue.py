"""What the queue costs, with a stub in place of the pipeline, and whom it serves.

CPU per study, gain by more workers, the share of routine studies while urgent ones keep coming, the worklist's query.
Everything runs on an empty catalogue: SQLite in a folder of its own, or a PostgreSQL database that was made for it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from sqlalchemy import select

from console.benchmark.fairness import measure_fairness
from console.benchmark.figures import Benchmark, Figure, benchmark
from console.benchmark.queued_studies import add_done_studies, new_result, queue_studies
from ichor.catalogue import inputs, jobs, results, views
from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Study
from ichor.errors import SettingsError, StartError
from ichor.log import configure_logging
from ichor.settings import JobSettings
from worker.loop import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from ichor.catalogue.records import Job, JobKind
    from worker.lease import Lease
    from worker.loop import Handler

QUERIES = 21
MODEL_SLEEP_S = 1.0
START_S = 120.0
QUIET = "warning"
LINES = 100
FAIR_JOBS = 200
BARE = "one study by its key"
ALONE = "one worker on a model that sleeps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much of everything."""

    queued: int
    done: int
    """Of the queued studies, how many are worked off to measure the CPU time."""
    workers: int
    per_worker: int
    instances: int


class StubHandler:
    """Sleeps as long as a model would compute elsewhere, and records a result as an analysis does."""

    def __init__(self, catalogue: Catalogue, *, sleep_s: float) -> None:
        self._catalogue = catalogue
        self._sleep_s = sleep_s

    def run(self, job: Job, lease: Lease) -> None:
        """Record and close the job."""
        time.sleep(self._sleep_s)
        lease.check()
        with self._catalogue.read() as session:
            version = inputs.study_input(session, job.study_instance_uid).input_version
        with self._catalogue.write() as session:
            results.record_result(session, new_result(job.study_instance_uid, version))
            jobs.finish(session, job.id, job.lease_owner)


def measure_queue(*, catalogue_url: str | None, load: Load, tell: Callable[[str], None]) -> Benchmark:
    """Measure everything; raise SettingsError where the database is not empty."""
    configure_logging(QUIET, json=True)  # a line per job would be measured too
    with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
        url = f"sqlite:///{scratch}/catalogue.sqlite" if catalogue_url is None else catalogue_url
        catalogue = Catalogue.open(url)
        try:
            require_empty(catalogue)
            tell(f"Queueing {load.queued} studies")
            queue_studies(catalogue, load.queued)
            tell(f"Working off {load.done} of them")
            cpu_s, elapsed_s = work_off(catalogue, load.done)
            tell(f"One worker, then {load.workers}")
            alone, together = (throughput(url, workers, load.per_worker) for workers in (1, load.workers))
            tell("Routine studies while STAT studies keep coming")
            queue_studies(catalogue, FAIR_JOBS, first=load.queued)
            fairness = measure_fairness(catalogue, StubHandler(catalogue, sleep_s=0.0), count(), jobs=FAIR_JOBS)
            tell(f"Adding {load.instances} instances")
            add_done_studies(catalogue, load.instances)
            query_s = time_queries(catalogue)
        finally:
            catalogue.close()
    figures = (
        Figure(what=f"CPU per study, {load.queued} queued", value=1000 * cpu_s / load.done, unit="ms"),
        Figure(what="elapsed per study", value=1000 * elapsed_s / load.done, unit="ms"),
        Figure(what=ALONE, value=alone, unit="studies/s", ratio=1.0, peer=ALONE),
        Figure(what=f"{load.workers} workers", value=together, unit="studies/s", ratio=together / alone, peer=ALONE),
        *fairness,
        *(
            Figure(what=what, value=1000 * seconds, unit="ms", ratio=seconds / query_s[BARE], peer=BARE)
            for what, seconds in query_s.items()
        ),
    )
    backend = "SQLite" if catalogue_url is None else "PostgreSQL"
    command = f"ichor benchmark queue --studies {load.queued} --instances {load.instances}"
    return benchmark(f"Queue on {backend}, {load.instances:,} instances", command, figures)


def require_empty(catalogue: Catalogue) -> None:
    """Refuse a catalogue in which somebody's studies are."""
    with catalogue.read() as session:
        if session.scalars(select(Study.id).limit(1)).first() is not None:
            raise SettingsError("The catalogue holds studies; give the benchmark a database that was made for it.")


def work_off(catalogue: Catalogue, count: int) -> tuple[float, float]:
    """Let the loop of a worker do so many jobs; give CPU and elapsed seconds."""
    worker = stub_worker(catalogue, count, sleep_s=0.0)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    worker.drain()
    return time.process_time() - began_cpu_s, time.perf_counter() - began_s


def stub_worker(catalogue: Catalogue, count: int, *, sleep_s: float) -> Worker:
    """Give a worker that stops after so many jobs."""
    stop = threading.Event()
    left = iter(range(count - 1, -1, -1))

    def after_job(_job: Job) -> None:
        if next(left) == 0:
            stop.set()

    handlers: dict[JobKind, Handler] = {"analyse": StubHandler(catalogue, sleep_s=sleep_s)}
    return Worker(catalogue, JobSettings(), "analyse", handlers, stop=stop, after_job=after_job)


def throughput(url: str, workers: int, per_worker: int) -> float:
    """Let processes work side by side; give studies per second, from all ready to the last end."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    processes = [context.Process(target=work_aside, args=(url, per_worker, ready)) for _ in range(workers)]
    for process in processes:
        process.start()
    ready.wait(START_S)
    began_s = time.perf_counter()
    for process in processes:
        process.join()
    elapsed_s = time.perf_counter() - began_s
    if any(process.exitcode for process in processes):
        raise StartError("A worker of the benchmark ended early.")
    return workers * per_worker / elapsed_s


def work_aside(url: str, count: int, ready: threading.Barrier) -> None:
    """Do so many jobs in a process of its own, once everybody is ready."""
    configure_logging(QUIET, json=True)
    catalogue = Catalogue.open(url)
    worker = stub_worker(catalogue, count, sleep_s=MODEL_SLEEP_S)
    ready.wait(START_S)
    worker.drain()
    catalogue.close()


def time_queries(catalogue: Catalogue) -> dict[str, float]:
    """Give the median seconds of the worklist's queries, beside the cheapest query there is."""
    queries: dict[str, Callable[[Session], object]] = {
        BARE: lambda session: session.get(Study, 1),
        f"worklist, lines 1 to {LINES}": lambda session: views.list_studies(session, limit=LINES),
        f"worklist, lines 5001 to {5000 + LINES}": lambda session: views.list_studies(
            session, limit=LINES, offset=5000
        ),
    }
    return {
        what: statistics.median(_seconds(catalogue, query) for _ in range(QUERIES)) for what, query in queries.items()
    }


def _seconds(catalogue: Catalogue, query: Callable[[Session], object]) -> float:
    began_s = time.perf_counter()
    with catalogue.read() as session:
        query(session)
    return time.perf_counter() - began_s
