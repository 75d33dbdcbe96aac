"""A catalogue that goes away while a worker has a job in hand: the worker lives, and the study does not pay for it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ichor.catalogue import jobs
from ichor.catalogue.records import Job
from ichor.errors import LeaseLost
from tests.ichor.postgres import PostgresCluster
from tests.painting import PaintedSeries
from tests.peers.programs import wait_until
from tests.worker.run.node import QUICK_JOBS, Node
from tests.worker.run.test_loop import Handler
from worker.lease import Lease

pytestmark = pytest.mark.integration


@pytest.fixture
def cluster() -> Iterator[PostgresCluster]:
    """A PostgreSQL of this test's own, which it may end."""
    with tempfile.TemporaryDirectory(prefix="ichor-pg-") as folder:
        own = PostgresCluster(Path(folder))
        own.create()
        own.start()
        yield own
        own.stop()


def events(node: Node, study: str, name: str) -> int:
    return sum(event.name == name for event in node.detail(study).events)


def is_lost(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


def test_an_outcome_waits_for_the_catalogue(
    make_node: Callable[..., Node], cluster: PostgresCluster, bleed: PaintedSeries
) -> None:
    """Away exactly while the outcome is written: the job is given back when it answers, and nothing is counted."""
    quick = QUICK_JOBS | {"lease_ttl_s": 600.0}
    node = make_node(catalogue_url=cluster.new_database(), jobs=quick)
    study = node.file(bleed.paths[:1])
    node.settle(study=False)
    restart = threading.Timer(1.0, cluster.start)  # the outcome meets a catalogue that is away

    def act(_job: Job, _lease: Lease) -> None:
        if len(handler.attempts) == 1:
            cluster.stop()
            restart.start()

    handler = Handler(node, act)
    worker = node.worker("analyse", {"analyse": handler})
    assert worker.drain() >= 1
    restart.join()
    wait_until(lambda: worker.drain() >= 0 and len(handler.attempts) == 2, what="second attempt")
    assert handler.attempts == [1, 1], "an attempt that the catalogue ended is none"
    (job,) = node.detail(study).jobs
    assert job.state == "done"
    assert events(node, study, "job_lease_expired") == 0


def test_a_worker_that_lives_is_not_counted_as_dead(
    make_node: Callable[..., Node], cluster: PostgresCluster, bleed: PaintedSeries
) -> None:
    """Away for longer than a lease, again and again, and others take over: the study never fails of it."""
    quick = QUICK_JOBS | {"lease_ttl_s": 1.0, "heartbeat_s": 0.2, "max_attempts": 2}
    node = make_node(catalogue_url=cluster.new_database(), jobs=quick)
    study = node.file(bleed.paths[:1])
    node.settle(study=False)

    def takeover() -> bool:
        with node.catalogue.write() as session:
            taken = jobs.claim(session, queue="analyse", owner="second", ttl_s=60.0, max_attempts=2)
            if taken is not None:
                jobs.release_lease(session, taken.id, "second")
        return taken is not None

    def act(_job: Job, lease: Lease) -> None:
        if len(handler.attempts) <= 3:
            cluster.stop()
            wait_until(lambda: is_lost(lease), what="loss noticed")
            cluster.start()
            if len(handler.attempts) > 1:
                wait_until(takeover, what="lease expired")
            lease.check()

    handler = Handler(node, act)
    worker = node.worker("analyse", {"analyse": handler})
    wait_until(lambda: worker.drain() >= 0 and len(handler.attempts) == 4, timeout_s=60.0, what="fourth attempt")
    detail = node.detail(study)
    assert [job.state for job in detail.jobs] == ["done"]
    assert detail.study.state != "failed"
    assert (events(node, study, "job_lease_expired"), events(node, study, "job_lease_excused")) == (2, 2)
