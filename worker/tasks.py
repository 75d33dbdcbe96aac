"""The one Celery task, `ichor.wake`, and the worker that runs it: one solo process, one job at a time.

A message is a hint; what is to be done stands in the catalogue. Messages are acknowledged late and one at a time, and
redelivery is never relied on.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import structlog
from celery import signals

from ichor.errors import IchorError, StartError, TransientError
from ichor.jobs import TASK_NAME, celery_client, wake
from worker import last_words
from worker.loop import owner_name
from worker.process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from ichor.catalogue.records import Queue
    from ichor.settings import Settings
    from models.segmenter import Segmenter

    Loader = Callable[[Settings], Segmenter]

log = structlog.get_logger(__name__)

QUEUES: tuple[Queue, ...] = ("analyse", "deliver")


def create_app(settings: Settings) -> Celery:
    """Build the Celery application with its task; it opens nothing before a worker starts."""
    return Lifetime(settings, load_model).app


class Lifetime:
    """A Celery application, and what lives as long as its worker does."""

    def __init__(self, settings: Settings, load: Loader) -> None:
        self.app = celery_client(settings)
        self.app.conf.worker_pool = "solo"  # CUDA does not survive a fork, and a warm model is not shared
        self.app.conf.worker_concurrency = 1
        self.app.conf.worker_redirect_stdouts = False
        self.app.task(self.drain, name=TASK_NAME, ignore_result=True)
        self._settings = settings
        self._load = load
        self._processes: dict[Queue, WorkerProcess] = {}
        self._stack = ExitStack()
        # Celery would let every library speak as low as the settings say, and some of them print UIDs there.
        signals.setup_logging.connect(_leave_logging_alone, weak=False)
        signals.celeryd_after_setup.connect(self._open_listened, weak=False)
        signals.worker_ready.connect(self._look_once, weak=False)
        signals.worker_shutting_down.connect(self._ask_to_stop, weak=False)
        signals.worker_shutdown.connect(self._close, weak=False)

    def open(self, queue: Queue) -> None:
        """Open catalogue, destinations and model for a queue; raise what makes work on it impossible."""
        process = WorkerProcess(self._settings, queue, self.app, lambda: self._load(self._settings))
        self._processes[queue] = self._stack.enter_context(process)
        process.warm()

    def close(self) -> None:
        """Close everything."""
        self._processes.clear()
        self._stack.close()

    def drain(self, queue: Queue) -> None:
        """Do what is ready; where the catalogue is away, the reconciler wakes us again."""
        if queue not in self._processes:
            return
        try:
            self._processes[queue].drain()
        except TransientError as error:
            log.warning("drain_put_off", queue=queue, error=error.code)

    def _open_listened(self, instance: Any, **_: Any) -> None:
        listened = instance.app.amqp.queues.consume_from
        for queue in QUEUES:
            if queue in listened and queue not in self._processes:
                try:
                    self.open(queue)
                except IchorError as error:
                    raise SystemExit(str(error)) from error  # Celery only logs other exceptions of a signal's receiver

    def _look_once(self, **_: Any) -> None:
        # What became ready while no worker listened is not waited for.
        for queue in self._processes:
            wake(self.app, queue)

    def _ask_to_stop(self, **_: Any) -> None:
        for process in self._processes.values():
            process.stop.set()

    def _close(self, **_: Any) -> None:
        self.close()


def _leave_logging_alone(**_: Any) -> None:
    """Be there: Celery sets up no logging where anybody has connected to this signal."""


def load_model(settings: Settings) -> Segmenter:
    """Load the configured model, every file checked against its digest."""
    from models.registry import default_registry  # delayed: it brings torch, which delivery does without

    analysis = settings.analysis
    registry = default_registry(settings.resolved_models_dir, os.environ)
    return registry.load(
        analysis.model,
        members=analysis.members,
        device=analysis.device,
        precision=analysis.precision,
        threads=analysis.threads,
    )


def run_worker(settings: Settings, *, queue: Queue, load: Loader = load_model) -> None:
    """Work on one queue until SIGTERM; raise where the work is not possible, or where Celery ended by itself."""
    lifetime = Lifetime(settings, load)
    try:
        lifetime.open(queue)
        worker = lifetime.app.Worker(
            queues=[queue],
            pool="solo",
            concurrency=1,
            hostname=f"{queue}-{os.getpid()}@%h",
            loglevel=settings.log_level.upper(),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,  # beats go into the catalogue
        )
        with last_words.kept(settings.data_dir, owner_name(queue)):
            worker.start()
        exit_code = cast("int | None", worker.exitcode)
    finally:
        lifetime.close()
    if exit_code:
        raise StartError(f"The worker of queue {queue} ended with code {exit_code}.")
