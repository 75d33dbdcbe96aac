"""The DICOM listener as several processes: one binds the ports and starts the others, which all accept on them.

The ports stay bound, and callers wait in the backlog, while an acceptor that died is started again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from console.children import Child, ChildSpec
from ichor.catalogue.engine import Catalogue
from listener.dimse import run_listener
from listener.doors import bound, tls_context
from listener.seats import Seats, shared_seats

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

    from ichor.sections import DicomSettings
    from ichor.settings import Settings

MOST_BY_DEFAULT = 4
"""A node seldom has more than four senders at a time, and each process holds some 100 MB."""
TICK_S = 0.1
DRAIN_S = 20.0
"""Longer than an acceptor takes to end what is open and to enter what is waiting."""

log = structlog.get_logger(__name__)


def run_acceptors(
    settings: Settings, *, config: Path | None, environ: Mapping[str, str], stop: threading.Event
) -> None:
    """Run the listener, in as many processes as the settings say, until `stop` is set.

    Raises:
        StartError: a port, a certificate or the data directory cannot be used.
        CatalogueUnreachable: the catalogue does not answer at the start.
    """
    count = process_count(settings.dicom)
    if count == 1:
        run_listener(settings, stop=stop, on_ready=lambda: log.info("listener_ready", processes=1))
        return
    with ExitStack() as stack:
        sockets = bound(settings.dicom)
        for one in sockets:
            stack.callback(one.close)
        tls_context(settings.dicom.tls)  # raises here rather than in every child
        Catalogue.open(settings.resolved_catalogue_url).close()  # migrated once, before the children ask for it
        descriptor = shared_seats(count)
        seats = Seats(limit=settings.dicom.max_associations, descriptor=descriptor, processes=count)
        stack.callback(seats.close)
        handed = (*(one.fileno() for one in sockets), descriptor)
        children = [
            Child(
                spec=ChildSpec(
                    name=f"acceptor-{number}", argv=_command(config, handed, number, count), descriptors=handed
                ),
                environ=environ,
            )
            for number in range(count)
        ]
        stack.callback(_stop_all, children)
        for child in children:
            child.start()
        log.info("listener_ready", processes=count)
        while not stop.wait(TICK_S):
            for number, child in enumerate(children):
                if not child.running():
                    seats.empty(number)
                child.keep_alive()


def process_count(settings: DicomSettings) -> int:
    """Return how many acceptor processes there are to be."""
    return settings.processes or min(MOST_BY_DEFAULT, len(os.sched_getaffinity(0)))


def _command(config: Path | None, handed: tuple[int, ...], number: int, count: int) -> tuple[str, ...]:
    file = () if config is None else ("--config", str(config.resolve()))
    numbers = [*handed, number, count]
    return (sys.executable, "-P", "-m", "console.acceptor", *file, *(str(one) for one in numbers))


def _stop_all(children: list[Child]) -> None:
    until_s = time.monotonic() + DRAIN_S
    for child in children:
        child.signal_group(signal.SIGTERM)
    for child in children:
        child.stop(until_s=until_s)
