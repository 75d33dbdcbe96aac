"""The loop behind `ichor reconcile`: settle what is quiet, re-issue what Redis forgot, escalate, say that it lives."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import structlog

from console.counting import CountWatch
from console.housekeeping import Housekeeping
from console.releasing import release_due
from ichor.catalogue.beats import beat
from ichor.catalogue.engine import Catalogue
from ichor.errors import TransientError
from ichor.jobs import celery_client
from ichor.store import Store
from listener import completeness
from worker import reconcile
from worker.alert import watch
from worker.worklist import WorklistWatch

if TYPE_CHECKING:
    import threading

    from celery import Celery

    from ichor.settings import Settings

BEAT_KIND = "reconcile"

log = structlog.get_logger(__name__)


def run_reconciler(settings: Settings, *, stop: threading.Event) -> None:
    """Tick until told to stop; a catalogue or Redis that does not answer is asked again at the next tick."""
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    client = celery_client(settings)
    try:
        with WorklistWatch(catalogue, settings), CountWatch(catalogue, settings):
            _tick_until(stop, settings, catalogue, client)
    finally:
        close(client)
        catalogue.close()


def _tick_until(stop: threading.Event, settings: Settings, catalogue: Catalogue, client: Celery) -> None:
    name = f"{socket.gethostname()}:{os.getpid()}"
    beat_due_s = reconcile_due_s = 0.0
    tidy_due_s = time.monotonic() + settings.retention.every_s
    while not stop.is_set():
        now_s = time.monotonic()
        try:
            completeness.tick(catalogue, settings, client)
            if now_s >= reconcile_due_s:
                reconcile.tick(catalogue, settings, client)
                watch.tick(catalogue, settings)
                release_due(catalogue, settings)
                reconcile_due_s = now_s + settings.jobs.reconcile_s
            if now_s >= tidy_due_s:
                tidy(catalogue, settings)
                tidy_due_s = now_s + settings.retention.every_s
            if now_s >= beat_due_s:
                say_alive(catalogue, name)
                beat_due_s = now_s + settings.jobs.heartbeat_s
        except TransientError as error:
            log.warning("reconcile_put_off", code=error.code)
        stop.wait(min(completeness.TICK_S, settings.jobs.reconcile_s))


def tidy(catalogue: Catalogue, settings: Settings) -> None:
    """Make room; what the disk does not let go now is tried again in the next round."""
    free_bytes = Store(settings.data_dir).free_bytes
    try:
        Housekeeping(catalogue, settings, free_bytes=free_bytes, now_s=time.time()).round()
    except OSError as error:
        log.warning("housekeeping_put_off", error=type(error).__name__)


def say_alive(catalogue: Catalogue, name: str) -> None:
    """Write this process's heartbeat."""
    with catalogue.write() as session:
        beat(session, name, BEAT_KIND)


def close(client: Celery) -> None:
    """Let go of the connections to Redis."""
    client.close()
