"""One worker process: catalogue and duty, opened once, and a loop for the queue it listens to."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from ichor.catalogue.engine import Catalogue
from ichor.jobs import QUEUE_ANALYSE
from ichor.metrics import NodeMetrics, counts_of
from worker.delivering import Delivering
from worker.loop import Worker
from worker.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from ichor.catalogue.records import Queue
    from ichor.settings import Settings
    from models.segmenter import Segmenter
    from worker.duty import Duty


class WorkerProcess:
    """Context manager; `drain` is what a wake-up calls."""

    def __init__(self, settings: Settings, queue: Queue, client: Celery, load_model: Callable[[], Segmenter]) -> None:
        self._settings = settings
        self._queue = queue
        self._client = client
        self._load_model = load_model
        self._metrics = NodeMetrics()
        self._stack = ExitStack()
        self.stop = threading.Event()
        """Set to let the loop end after the job in hand; an analysis in hand is handed back."""

    def __enter__(self) -> Self:
        settings = self._settings
        self._catalogue = Catalogue.open(settings.resolved_catalogue_url)
        self._stack.callback(self._catalogue.close)
        self._duty = self._take_up()
        self._worker = Worker(
            self._catalogue,
            settings.jobs,
            self._queue,
            self._duty.handlers,
            stop=self.stop,
            after_job=lambda _job: self._duty.after_job(),
            metrics=self._metrics,
        )
        pulse = Pulse(
            self._catalogue,
            name=f"{socket.gethostname()}:{os.getpid()}",
            kind=self._queue,
            interval_s=settings.jobs.heartbeat_s,
            detail=lambda: {"job": self._worker.at_work_on, "counts": counts_of(self._metrics.registry)},
        )
        self._stack.enter_context(pulse)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def warm(self) -> None:
        """Get ready for the first job; raise what makes the work impossible."""
        self._duty.warm()

    def drain(self) -> int:
        """Do what is ready; return the number of jobs taken."""
        taken = self._worker.drain()
        self._duty.after_all()
        return taken

    def _take_up(self) -> Duty:
        if self._queue != QUEUE_ANALYSE:
            return Delivering(self._settings, self._catalogue, self._metrics)
        # Delayed: it brings torch, which delivery does without.
        from worker.analysing import Analysing

        return Analysing(
            self._settings,
            self._catalogue,
            self._metrics,
            client=self._client,
            load_model=self._load_model,
            stop=self.stop,
        )
