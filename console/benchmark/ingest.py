"""How fast the listener takes slices in, beside plain synced writes, dcmtk's storescp and Orthanc, in one run.

Every sender is dcmtk's dcmsend where it is installed, every receiver gets the same files; TCP_NODELAY=1 keeps dcmtk
from waiting for delayed acknowledgements on either side.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.benchmark.figures import Benchmark, Figure, benchmark
from console.benchmark.receivers import listener, orthanc, outside_python, storescp
from console.benchmark.slices import write_slices
from ichor.errors import PeerRejected
from ichor.peers.dimse import Peer, store

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = "plain write and fdatasync, one at a time"
STORESCP = "dcmtk storescp (not synced)"
ORTHANC = "Orthanc"
ONE = "ichor listen, one association (synced)"
PROCESSOR = "processor time of the listener, one association"
SENDERS = 8
MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round found."""

    taken_s: dict[str, float]
    """Of each receiver, for all slices."""
    processor_s: float
    """Of the listener, for all slices over one association."""
    peak_bytes: int
    """Of its largest process, in memory."""


def measure_ingest(*, count: int, runs: int = 1) -> Benchmark:
    """Send `count` slices to each receiver, `runs` times in turn; medians count."""
    rates: dict[str, list[float]] = {}
    processor_ms: list[float] = []
    peak_bytes = 0
    with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
        folder = Path(scratch)
        paths = write_slices(folder / "slices", count=count)
        shares = [folder / f"share-{number}" for number in range(SENDERS)]
        for number, path in enumerate(paths):
            shares[number % SENDERS].mkdir(exist_ok=True)
            os.link(path, shares[number % SENDERS] / path.name)
        for run in range(runs):
            found = measure_once(folder / f"run-{run}", paths, [share for share in shares if share.is_dir()])
            peak_bytes = max(peak_bytes, found.peak_bytes)
            processor_ms.append(found.processor_s / count * 1e3)
            for what, seconds in found.taken_s.items():
                rates.setdefault(what, []).append(count / seconds)
    medians = {what: statistics.median(values) for what, values in rates.items()}
    figures = [
        Figure(what=what, value=rate, unit="slices/s", ratio=rate / medians[PLAIN], peer=PLAIN)
        for what, rate in medians.items()
    ]
    figures += [
        Figure(what=what, value=medians[what], unit="slices/s", ratio=medians[what] / medians[peer], peer=peer)
        for what, peer in ((ONE, STORESCP), (ONE, ORTHANC), (many(), ONE))
        if what in medians and peer in medians
    ]
    figures.append(Figure(what=PROCESSOR, value=statistics.median(processor_ms), unit="ms a slice"))
    figures.append(Figure(what="largest acceptor process, peak resident memory", value=peak_bytes / MB, unit="MB"))
    title = f"Ingest of {count} slices of 512 KiB, median of {runs}"
    return benchmark(title, f"ichor benchmark ingest --slices {count} --runs {runs}", tuple(figures))


def measure_once(folder: Path, paths: Sequence[Path], shares: Sequence[Path]) -> Round:
    """Time every receiver once."""
    taken_s = {PLAIN: plain_write_s(paths, folder / "plain")}
    if outside_python("storescp") is not None:
        with storescp(folder / "storescp") as peer:
            taken_s[STORESCP] = send_s(peer, [paths[0].parent], paths)
    if shutil.which("Orthanc") is not None:
        with orthanc(folder / "orthanc") as peer:
            taken_s[ORTHANC] = send_s(peer, [paths[0].parent], paths)
    with listener(folder / "one") as running:
        before_s = running.processor_s()
        taken_s[ONE] = send_s(running.peer, [paths[0].parent], paths)
        processor_s = running.processor_s() - before_s
        peak = running.peak_bytes()
    with listener(folder / "many") as running:
        taken_s[many()] = send_s(running.peer, shares, paths)
        peak = max(peak, running.peak_bytes())
    shutil.rmtree(folder)
    return Round(taken_s=taken_s, processor_s=processor_s, peak_bytes=peak)


def many() -> str:
    """Name the figure of several associations."""
    return f"ichor listen, {SENDERS} associations together (synced)"


def plain_write_s(paths: Sequence[Path], folder: Path) -> float:
    """Write the same bytes to the same disk, each file synced, and give the time."""
    folder.mkdir(parents=True)
    contents = [path.read_bytes() for path in paths]
    began_s = time.perf_counter()
    for number, content in enumerate(contents):
        with (folder / f"{number}.dcm").open("wb") as file:
            file.write(content)
            file.flush()
            os.fdatasync(file.fileno())
    return time.perf_counter() - began_s


def send_s(peer: Peer, folders: Sequence[Path], paths: Sequence[Path]) -> float:
    """Send every folder over an association of its own, all at once, and give the time.

    Raises:
        PeerRejected: a slice was not taken.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(folders)))
        began_s = time.perf_counter()
        if not all(pool.map(lambda folder: sent(peer, folder, paths), folders)):
            raise PeerRejected(f"{peer.ae_title} did not take every slice.")
        return time.perf_counter() - began_s


def sent(peer: Peer, folder: Path, paths: Sequence[Path]) -> bool:
    """Send one folder; say whether every slice was taken."""
    program = shutil.which("dcmsend")
    if program is None:
        return all(outcome.stored for outcome in store(peer, [path for path in paths if (folder / path.name).exists()]))
    address = [peer.host, str(peer.port)]
    command = [program, "--call", peer.ae_title, "--max-pdu", "131072", "--scan-directories", *address, str(folder)]
    environ = os.environ | {"TCP_NODELAY": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.run(command, env=environ, stdout=quiet, stderr=quiet, check=False).returncode == 0
