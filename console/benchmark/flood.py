"""What thousands of bare TCP connections cost the listener, on the plain and the TLS port, and a C-ECHO meanwhile."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import tempfile
import time
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from console.benchmark.figures import Benchmark, Figure, benchmark
from console.benchmark.receivers import RunningListener, listener
from console.demo.loopback import free_port
from ichor.errors import StartError
from ichor.peers.dimse import echo

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_A_TIME = 200
LOW = 16
MB = 1_000_000


def measure_flood(*, connections: int) -> Benchmark:
    """Open `connections` to each port, 200 at a time, leave them open, and echo after every 200."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
        folder = Path(scratch)
        settings = make_certificate(folder) | {"ICHOR_DICOM__TLS__PORT": str(free_port())}
        with listener(folder, settings=settings) as running:
            for name, port in (("plain", running.peer.port), ("TLS", running.tls_port)):
                if port is not None:
                    figures += flood(running, name, port, connections=connections)
    return benchmark(
        f"{connections} bare connections to each port, {AT_A_TIME} at a time, left open",
        f"ichor benchmark flood --connections {connections}",
        tuple(figures),
    )


def flood(running: RunningListener, name: str, port: int, *, connections: int) -> Iterator[Figure]:
    """Yield the figures of one port."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    echoes_s = []
    began_bytes, began_threads = resident_bytes(running), threads(running)
    most_bytes, most_threads = began_bytes, began_threads
    with ExitStack() as stack:
        held: deque[socket.socket] = deque()
        low = low_descriptors()
        for number in range(connections):
            with suppress(OSError):  # refused or cut off is as good an answer as any
                connection = stack.enter_context(socket.create_connection((running.peer.host, port), timeout=30.0))
                held.append(connection)
            if len(held) > most - AT_A_TIME:
                held.popleft().close()
            if number % AT_A_TIME == AT_A_TIME - 1:
                for descriptor in low:
                    os.close(descriptor)
                began_s = time.perf_counter()
                echo(running.peer)
                echoes_s.append(time.perf_counter() - began_s)
                low = low_descriptors()
                most_bytes = max(most_bytes, resident_bytes(running))
                most_threads = max(most_threads, threads(running))
        for descriptor in low:
            os.close(descriptor)
    yield Figure(what=f"{name} port: slowest C-ECHO meanwhile", value=max(echoes_s), unit="s")
    yield Figure(
        what=f"{name} port: memory of all acceptors at most",
        value=most_bytes / MB,
        unit="MB",
        ratio=most_bytes / began_bytes,
        peer="before",
    )
    yield Figure(what=f"{name} port: threads beyond those before, at most", value=most_threads - began_threads, unit="")


def low_descriptors() -> list[int]:
    """Hold small numbers for the sockets of an echo: pynetdicom's user waits with select(2), which ends at 1024."""
    return [os.open(os.devnull, os.O_RDONLY) for _ in range(LOW)]


def resident_bytes(running: RunningListener) -> int:
    """Return the resident memory of all acceptor processes together."""
    return sum(int(process.memory_info().rss) for process in running.acceptors())


def threads(running: RunningListener) -> int:
    """Return the threads of all acceptor processes together."""
    return sum(int(process.num_threads()) for process in running.acceptors())


def make_certificate(folder: Path) -> dict[str, str]:
    """Make a certificate with openssl, and give the settings that name it."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = (
        "openssl",
        "req",
        "-x509",
        *curve,
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        "-subj",
        "/CN=localhost",
    )
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StartError("openssl is needed to make a certificate.") from error
    return {"ICHOR_DICOM__TLS__CERTIFICATE": str(certificate), "ICHOR_DICOM__TLS__KEY": str(key)}
