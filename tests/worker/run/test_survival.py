"""Real worker processes on a real Redis, ended in the middle of what they do."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ichor.catalogue import views
from ichor.jobs import wake
from tests.painting import PaintedSeries, paint
from tests.peers.programs import Program, wait_until
from tests.peers.recording import RecordingScp
from tests.peers.redis import RedisServer
from tests.peers.webhook import WebhookServer
from tests.worker.run.node import QUICK_JOBS, Node
from tests.worker.run.threshold import Threshold
from worker import reconcile
from worker.alert.webhook import signature
from worker.process import WorkerProcess

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
START_S = 60.0
"""A worker imports torch before it works; on a busy machine that takes its time."""


class Workers:
    """Worker processes of one node, and the reconciler's ticks while the test waits."""

    def __init__(self, node: Node, raw_settings: dict[str, Any], stack: ExitStack) -> None:
        self.node = node
        self._settings = json.dumps({"data_dir": str(node.settings.data_dir), **raw_settings})
        self._stack = stack

    def start(self, queue: str, *, pause_s: float = 0.0) -> Program:
        """Start one, which ends with the test."""
        command = [sys.executable, "-m", "tests.worker.run.worker_main", self._settings, queue, str(pause_s)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        worker = Program(command, log=self.node.settings.data_dir / "worker.log", environ=environ)
        worker.start()
        self._stack.callback(worker.stop)
        return worker

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Tick until the condition holds; raise TimeoutError with the workers' log."""

        def ticked() -> bool:
            reconcile.tick(self.node.catalogue, self.node.settings, self.node.client)
            return condition()

        try:
            wait_until(ticked, timeout_s=START_S, what=what)
        except TimeoutError as error:
            raise TimeoutError(
                f"{error}\n{(self.node.settings.data_dir / 'worker.log').read_text()[-4000:]}"
            ) from error


@pytest.fixture
def make_workers(redis_server: RedisServer, make_node: Callable[..., Node]) -> Iterator[Callable[..., Workers]]:
    """Make a node on a Redis of its own, whose workers are processes."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Workers:
            raw = {"redis_url": redis_server.url, "jobs": QUICK_JOBS, "delivery": {"hold": False}, **settings}
            return Workers(make_node(**raw), raw, stack)

        yield make


def states(workers: Workers, study: str) -> list[str]:
    return [job.state for job in workers.node.detail(study).jobs if job.queue == "analyse"]


def test_a_killed_analysis_is_taken_over(
    make_workers: Callable[..., Workers], redis_server: RedisServer, bleed: PaintedSeries
) -> None:
    """Kill -9 in the middle of a run: another worker makes the one result, also when Redis has forgotten everything."""
    workers = make_workers()
    first = workers.start("analyse", pause_s=600.0)
    study = workers.node.file(bleed.paths)
    workers.node.settle(study=False)
    workers.wait(lambda: states(workers, study) == ["running"], "analysis running")
    first.kill()
    second = workers.start("analyse")
    workers.wait(lambda: workers.node.detail(study).study.state == "analysed", "result")
    detail = workers.node.detail(study)
    assert [result.status for result in detail.results] == ["analysed"]
    (job,) = [job for job in detail.jobs if job.queue == "analyse"]
    assert (job.state, job.attempt) == ("done", 2)
    redis_server.flush_all()
    with workers.node.catalogue.write() as session:
        views.request_retry(session, study, force=False)
    wake(workers.node.client, "analyse")
    redis_server.flush_all()
    workers.wait(lambda: states(workers, study) == ["done", "done"], "retry found its result")
    assert workers.node.detail(study).results == detail.results
    assert second.stop(timeout_s=20.0) == 0
    for secret in ("Marked", "MARKED", study, bleed.series_instance_uid):
        assert secret not in second.output()


def test_a_redis_that_dies_during_an_analysis_leaves_no_deaf_worker(
    make_workers: Callable[..., Workers], redis_server: RedisServer, bleed: PaintedSeries
) -> None:
    """The wake-up in hand needs no acknowledgement: the same worker hears the next one."""
    workers = make_workers()
    worker = workers.start("analyse", pause_s=2.0)
    study = workers.node.file(bleed.paths)
    workers.node.settle(study=False)
    workers.wait(lambda: states(workers, study) == ["running"], "analysis running")
    redis_server.program.kill()
    wait_until(lambda: states(workers, study) == ["done"], timeout_s=START_S, what="analysis done without Redis")
    redis_server.start()
    with workers.node.catalogue.write() as session:
        views.request_retry(session, study, force=False)
    workers.wait(lambda: states(workers, study) == ["done", "done"], "retry taken")
    assert worker.running


def test_a_draining_worker_hands_its_job_back(make_workers: Callable[..., Workers], bleed: PaintedSeries) -> None:
    """Asked to stop, it makes the analysis in hand ready again at once, and counts no attempt."""
    node = make_workers().node
    study = node.file(bleed.paths)
    node.settle(study=False)
    with WorkerProcess(node.settings, "analyse", node.client, lambda: Threshold(pause_s=60.0)) as process:
        thread = threading.Thread(target=process.drain)
        thread.start()
        wait_until(lambda: [job.state for job in node.detail(study).jobs] == ["running"], what="analysis running")
        process.stop.set()
        thread.join(timeout=30.0)
    (job,) = node.detail(study).jobs
    assert (job.state, job.attempt) == ("ready", 0)


def test_a_study_that_kills_its_worker_stops(
    make_workers: Callable[..., Workers], bleed: PaintedSeries, test_data_dir: Path, tmp_path: Path
) -> None:
    """After max_attempts dead workers the study is failed and says so, with where they died, and the lane goes on."""
    workers = make_workers(jobs={**QUICK_JOBS, "lease_ttl_s": 0.7, "max_attempts": 2})
    node = workers.node
    study = node.file(bleed.paths)
    node.settle(study=False)
    for death in (1, 2):
        deadly = workers.start("analyse", pause_s=-1.0)
        workers.wait(lambda running=deadly: not running.running, f"worker dead, time {death}")  # type: ignore[misc]
    harmless = node.file(paint(test_data_dir / "ge-hispeed-tilt", tmp_path / "harmless", None).paths)
    node.settle(study=False)
    wait_until(lambda: node.drain("analyse") >= 0 and bool(node.detail(study).results), what="result")
    detail = node.detail(study)
    assert detail.study.state == "failed"
    assert [result.status for result in detail.results] == ["failed"]
    assert "the worker ended 2 times while at it" in detail.results[0].summary_json
    (traceback,) = [event.detail["traceback"] for event in detail.events if "traceback" in event.detail]
    assert traceback.startswith("Segmentation fault at worker_main.py:")
    assert "segment < pipeline.py:" in traceback
    assert node.detail(harmless).study.state == "analysed"


def test_a_killed_delivery_sends_only_what_is_missing(
    make_workers: Callable[..., Workers], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """Kill -9 between sending and confirming: the next worker asks, and the peer has seen one content of each."""
    place = {"name": "pacs", "host": recording_scp.host, "port": recording_scp.port, "ae_title": "RECORDER"}
    workers = make_workers(destinations=[place])
    node = workers.node
    study = node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse")
    recording_scp.find_allowed.clear()
    first = workers.start("deliver")
    workers.wait(lambda: recording_scp.finds == 1, "objects sent, arrival not proven")
    first.kill()
    assert [delivery.state for delivery in node.detail(study).deliveries] == ["sent"]
    recording_scp.find_allowed.set()
    wait_until(lambda: node.drain("deliver") >= 0 and node.detail(study).deliveries[0].state == "confirmed")
    assert len(recording_scp.contents) == 3
    assert all(len(sums) == 1 for sums in recording_scp.contents.values())


def test_an_alert_arrives_once_it_can(
    make_workers: Callable[..., Workers], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """A receiver that fails twice gets the same signed body until it takes it, and then no more."""
    node = make_workers(alerts=[{"name": "on-call", "url": webhook_server.url, "secret": "shared secret"}]).node
    study = node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse")
    webhook_server.next_statuses = [503, 500]
    wait_until(lambda: node.drain("deliver") >= 0 and node.detail(study).alerts[0].state == "sent", what="alert sent")
    (alert,) = node.detail(study).alerts
    assert node.drain("deliver") == 0
    assert [request.status for request in webhook_server.received] == [503, 500, 204]
    assert {request.body for request in webhook_server.received} == {alert.body}
    assert {request.headers["x-ichor-signature"] for request in webhook_server.received} == {
        signature(alert.body, "shared secret")
    }
