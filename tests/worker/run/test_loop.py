from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

from ichor.catalogue import beats, intake, jobs, settling
from ichor.catalogue.lanes import StatRule
from ichor.catalogue.records import Job, Queue
from ichor.errors import GeometryError, LeaseLost, QueueUnreachable
from ichor.metrics import counts_of
from tests.ichor.catalogue.examples import instance
from tests.painting import PaintedSeries
from tests.peers.programs import wait_until
from tests.peers.webhook import WebhookServer
from tests.worker.run.node import QUICK_JOBS, Node
from tests.worker.run.threshold import Threshold
from worker.lease import Lease
from worker.process import WorkerProcess
from worker.pulse import Pulse


class Handler:
    """Does what the test says, and closes the job."""

    def __init__(self, node: Node, act: Callable[[Job, Lease], None]) -> None:
        self._node = node
        self._act = act
        self.attempts: list[int] = []

    def run(self, job: Job, lease: Lease) -> None:
        """Act, then close the job."""
        self.attempts.append(job.attempt)
        self._act(job, lease)
        with self._node.catalogue.write() as session:
            jobs.finish(session, job.id, job.lease_owner)


def take(node: Node, bleed: PaintedSeries) -> Job:
    node.file(bleed.paths[:1])
    node.settle(study=False)
    with node.catalogue.write() as session:
        job = jobs.claim(session, queue="analyse", owner="first", ttl_s=node.settings.jobs.lease_ttl_s)
    assert job is not None
    return job


def test_a_lease_outlives_its_time_while_it_is_kept(node: Node, bleed: PaintedSeries) -> None:
    """Work longer than the lease stays ours: nobody else can claim the job."""
    job = take(node, bleed)
    with Lease(node.catalogue, job, node.settings.jobs) as lease:
        time.sleep(node.settings.jobs.lease_ttl_s * 1.3)
        with node.catalogue.write() as session:
            assert jobs.claim(session, queue="analyse", owner="second", ttl_s=5.0) is None
        lease.check()


def test_a_lost_lease_is_noticed(node: Node, bleed: PaintedSeries) -> None:
    """Who lost its job to another worker hears of it at the next heartbeat."""
    job = take(node, bleed)
    time.sleep(node.settings.jobs.lease_ttl_s + 0.1)
    with node.catalogue.write() as session:
        taken = jobs.claim(session, queue="analyse", owner="second", ttl_s=60.0)
    assert taken is not None
    assert taken.id == job.id
    with Lease(node.catalogue, job, node.settings.jobs) as lease:

        def lost() -> bool:
            try:
                lease.check()
            except LeaseLost:
                return True
            return False

        wait_until(lost, timeout_s=5.0, what="loss noticed")


def test_transient_errors_come_again(node: Node, bleed: PaintedSeries) -> None:
    """A fault that passes costs a pause and no result."""
    faults: list[Exception] = [QueueUnreachable(), ValueError("unforeseen")]

    def act(_job: Job, _lease: Lease) -> None:
        if faults:
            raise faults.pop(0)

    study = node.file(bleed.paths[:1])
    node.settle(study=False)
    handler = Handler(node, act)
    worker = node.worker("analyse", {"analyse": handler})
    wait_until(lambda: worker.drain() >= 0 and len(handler.attempts) == 3, timeout_s=5.0, what="third attempt")
    assert handler.attempts == [1, 2, 3]
    (job,) = node.detail(study).jobs
    assert job.state == "done"


def test_permanent_errors_fail_at_once(node: Node, bleed: PaintedSeries) -> None:
    """What cannot get better is not tried again."""

    def act(_job: Job, _lease: Lease) -> None:
        raise GeometryError

    study = node.file(bleed.paths[:1])
    node.settle(study=False)
    handler = Handler(node, act)
    assert node.worker("analyse", {"analyse": handler}).drain() == 1
    detail = node.detail(study)
    assert [(job.state, job.error_code) for job in detail.jobs] == [("failed", "geometry")]
    assert detail.study.state == "failed"


def test_what_keeps_failing_ends(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """A fault that nobody foresaw is tried max_attempts times, and the lane goes on."""
    node = make_node(jobs={"max_attempts": 2, "backoff_base_s": 0.0})

    def act(_job: Job, _lease: Lease) -> None:
        raise ValueError("always")

    study = node.file(bleed.paths[:1])
    node.settle(study=False)
    handler = Handler(node, act)
    worker = node.worker("analyse", {"analyse": handler})
    wait_until(lambda: worker.drain() == 0, timeout_s=5.0)
    assert handler.attempts == [1, 2]
    (job,) = node.detail(study).jobs
    assert (job.state, job.error_code) == ("failed", "ValueError")
    assert "always" not in job.error_text


def test_a_stop_ends_the_loop_between_jobs(node: Node, bleed: PaintedSeries) -> None:
    """SIGTERM lets the job in hand end, and no further one begin."""
    stop = threading.Event()
    node.file(bleed.paths[:1])
    node.settle(study=False)
    handler = Handler(node, lambda _job, _lease: stop.set())
    worker = node.worker("analyse", {"analyse": handler}, stop)
    assert worker.drain() == 1
    assert worker.drain() == 0


def test_a_worker_says_that_it_lives(node: Node) -> None:
    """A beat stands in the catalogue at once, and is renewed."""
    with Pulse(node.catalogue, name="host:1", kind="analyse", interval_s=0.05):

        def seen() -> bool:
            with node.catalogue.read() as session:
                return [row.name for row in beats.live(session, 10.0)] == ["host:1"]

        wait_until(seen, timeout_s=5.0, what="beat")


def test_routine_work_never_starves(make_node: Callable[..., Node]) -> None:
    """Urgent studies come faster than they are done, and the routine one is still done as the fifth."""
    node = make_node(jobs=QUICK_JOBS | {"routine_wait_s": 0.0})
    stop = threading.Event()
    done: list[str] = []

    def arrive(study: str, calling_ae: str) -> None:
        with node.catalogue.write() as session:
            intake.record_instances(session, [instance(1, study=study, series=f"{study}.1", calling_ae=calling_ae)])
            settling.settle(session, settle_s=0, study_settle_s=1000, stat=StatRule(callers=("CT_ER",)))

    def act(job: Job, _lease: Lease) -> None:
        done.append(job.study_instance_uid)
        arrive(f"1.2.{len(done) + 10}", "CT_ER")
        if len(done) == 10:
            stop.set()

    for number in range(3):
        arrive(f"1.2.{number}", "CT_ER")
    arrive("1.2.9", "CT_WARD")
    node.worker("analyse", {"analyse": Handler(node, act)}, stop).drain()
    assert done[:5] == ["1.2.0", "1.2.1", "1.2.2", "1.2.11", "1.2.9"]


def test_what_a_worker_counts_stands_in_its_heartbeat(node: Node, bleed: PaintedSeries) -> None:
    """Jobs by outcome, where the web server finds them."""
    node.file(bleed.paths[:1])
    node.settle(study=False)
    with WorkerProcess(node.settings, "analyse", node.client, Threshold) as process:
        process.drain()

        def counted() -> dict[str, float]:
            with node.catalogue.read() as session:
                (beat,) = beats.live(session, within_s=60.0)
            return {
                labels["outcome"]: value
                for name, labels, value in beat.detail["counts"]
                if name == "ichor_jobs_ended_total"
            }

        wait_until(lambda: counted() == {"done": 1.0}, what="counts written")


def test_delivery_needs_nothing_that_analyses() -> None:
    """A process that only sends starts quickly and stays small: no torch, no image library."""
    program = (
        "import sys; from worker import tasks, process, delivering; "
        "print(sorted({'torch', 'monai', 'highdicom', 'scipy', 'nibabel'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout == "[]\n"


def test_what_a_worker_did_is_in_its_heartbeat(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """How long each stage took, and what became of each alert, for whoever scrapes the node."""
    node = make_node(alerts=({"name": "on-call", "url": webhook_server.url, "secret": "s"},))
    node.file(bleed.paths)
    node.settle(study=False)
    webhook_server.next_statuses = [503]

    def figures(queue: Queue) -> dict[str, float]:
        with WorkerProcess(node.settings, queue, node.client, Threshold) as process:
            wait_until(lambda: process.drain() > 0, what="a job")
            return {
                f"{name} {' '.join(labels.values())}": value
                for name, labels, value in counts_of(process._metrics.registry)
            }

    analysed = figures("analyse")
    for stage in ("gate", "volume", "model", "measure", "write"):
        assert analysed[f"ichor_stage_seconds_count {stage}"] == 1
    assert figures("deliver")["ichor_alerts_sent_total on-call unreachable"] == 1
    assert figures("deliver")["ichor_alerts_sent_total on-call sent"] == 1
