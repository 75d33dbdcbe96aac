"""The receivers that are measured: the listener, dcmtk's storescp, Orthanc; each on a free loopback port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from console.demo.loopback import LOOPBACK, free_port, listens, node_environment
from console.leash import leashed
from ichor.errors import PeerUnreachable, StartError
from ichor.peers.dimse import Peer, echo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_S = 120.0
"""On a machine that is busy with other things as well."""
STOP_S = 30.0
PEAK = "VmHWM:"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningListener:
    """`ichor listen`, and how it is reached."""

    peer: Peer
    pid: int
    tls_port: int | None = None

    def acceptors(self) -> list[psutil.Process]:
        """Return the processes that take associations: the children, or the only one."""
        process = psutil.Process(self.pid)
        return process.children() or [process]

    def processor_s(self) -> float:
        """Return the processor time that they have taken since they started."""
        times = [process.cpu_times() for process in self.acceptors()]
        return sum(one.user + one.system for one in times)

    def peak_bytes(self) -> int:
        """Return the peak resident memory of the largest of them (Linux only; 0 elsewhere)."""
        return max(peak_bytes(process.pid) for process in self.acceptors())


def peak_bytes(pid: int) -> int:
    """Return the peak resident memory of a process, from /proc."""
    path = Path(f"/proc/{pid}/status")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(PEAK)), 0)


@contextmanager
def storescp(folder: Path) -> Iterator[Peer]:
    """Run dcmtk's storescp; it offers no choice of address, and lives for seconds."""
    peer = _peer("STORESCP")
    folder.mkdir(parents=True)
    argv = [
        outside_python("storescp") or "storescp",
        "--aetitle",
        peer.ae_title,
        "--max-pdu",
        "131072",
        "--output-directory",
        str(folder),
    ]
    with running([*argv, str(peer.port)], peer=peer, environ=os.environ | {"TCP_NODELAY": "1"}):
        yield peer


@contextmanager
def orthanc(folder: Path) -> Iterator[Peer]:
    """Run Orthanc with its defaults, on the loopback address."""
    peer = _peer("ORTHANC")
    folder.mkdir(parents=True)
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": free_port(),
        "DicomPort": peer.port,
        "DicomAet": peer.ae_title,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowEcho": True,
        "RemoteAccessAllowed": False,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration), encoding="utf-8")
    with running(["Orthanc", str(path)], peer=peer, environ=os.environ | {"TCP_NODELAY": "1"}):
        yield peer


@contextmanager
def listener(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[RunningListener]:
    """Run `ichor listen` on a data directory of its own."""
    peer = _peer("ICHOR")
    environ = node_environment(os.environ) | {
        "ICHOR_DATA_DIR": str(folder / "data"),
        "ICHOR_DICOM__HOST": peer.host,
        "ICHOR_DICOM__PORT": str(peer.port),
        "ICHOR_LOG_LEVEL": "error",
        "ICHOR_COMPLETENESS__SETTLE_S": "3600",  # there is no Redis here to wake anybody
    }
    environ |= dict(settings) if settings is not None else {}
    tls_port = environ.get("ICHOR_DICOM__TLS__PORT")
    with running([sys.executable, "-P", "-m", "console.cli", "listen"], peer=peer, environ=environ) as pid:
        yield RunningListener(peer=peer, pid=pid, tls_port=None if tls_port is None else int(tls_port))


def outside_python(program: str) -> str | None:
    """Return the program of that name that is not one of this Python's: pynetdicom brings a `storescp`, too."""
    own = Path(sys.executable).parent
    places = [place for place in os.get_exec_path() if Path(place) != own]
    return shutil.which(program, path=os.pathsep.join(places))


def _peer(ae_title: str) -> Peer:
    return Peer(host=LOOPBACK, port=free_port(), ae_title=ae_title, calling_ae_title="BENCHMARK", timeout_s=30.0)


@contextmanager
def running(argv: list[str], *, peer: Peer, environ: Mapping[str, str]) -> Iterator[int]:
    """Run a receiver until the block ends, and give its process id; raise StartError where it does not answer."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        leashed(argv, parent_pid=os.getpid()), env=dict(environ), stdin=quiet, stdout=quiet, stderr=quiet
    )
    until_s = time.monotonic() + START_S
    try:
        while not listens(peer.port):
            if process.poll() is not None or time.monotonic() > until_s:
                raise StartError(f"{argv[0]} did not start.")
            time.sleep(0.1)
        try:
            echo(peer)
        except PeerUnreachable as error:
            raise StartError(f"{argv[0]} does not answer.") from error
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
