"""One acceptor process: `python -m console.acceptor [--config FILE] SOCKET... SEATS NUMBER COUNT`.

Sockets and seats are descriptors that `console.acceptors` has opened and hands down.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import socket
import sys
from pathlib import Path

import structlog

from console.cli.options import load
from console.cli.signals import stop_event
from listener.dimse import run_listener
from listener.seats import Seats

log = structlog.get_logger(__name__)


def main(arguments: list[str]) -> None:
    """Receive on what was handed down until told to stop."""
    parser = argparse.ArgumentParser(prog="console.acceptor")
    parser.add_argument("--config", type=Path)
    parser.add_argument("descriptors", type=int, nargs="+")
    given = parser.parse_args(arguments)
    *sockets, seats, number, count = given.descriptors
    settings = load(given.config)
    os.umask(0o077)
    allow_descriptors()
    run_listener(
        settings,
        stop=stop_event(),
        on_ready=lambda: ready(number),
        sockets=[socket.socket(fileno=one) for one in sockets],
        seats=Seats(limit=settings.dicom.max_associations, descriptor=seats, number=number, processes=count),
    )


def ready(number: int) -> None:
    """Say that associations are taken, and leave what the start has made out of all collections from now on.

    That are some hundred thousand objects, which stay; to look through them takes longer than to receive a slice.
    """
    gc.collect()
    gc.freeze()
    log.info("acceptor_ready", number=number)


def allow_descriptors() -> None:
    """Take as many descriptors as the system allows: the soft limit is often 1024, for programs that use select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main(sys.argv[1:])
