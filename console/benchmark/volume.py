"""Gate and volume of a thin-sliced head, from files to judged voxels: seconds, and the memory that the process took.

The peer reads the same files one after the other with pydicom and stacks them, and judges nothing.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from console.benchmark.figures import Benchmark, Figure, benchmark
from models.phantoms import PhantomPlan, write_phantom
from worker.gate import judge, load_rules
from worker.second_look import look_at
from worker.series import read_studies

if TYPE_CHECKING:
    from collections.abc import Callable

HEIGHT_MM = 160.0
THICK = 32  # slices of the phantom that the thin ones are copied from
PEER = "pydicom, one file after the other"
MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run in a process of its own took."""

    seconds: float
    processor_s: float
    """Of all threads: what stays the same where other programs share the cores."""
    peak_mib: float
    """Of the whole process, interpreter and libraries included."""


def measure_volume(*, slices: int, runs: int) -> Benchmark:
    """Time `runs` runs of either on a head of 512 x 512 pixels; medians."""
    with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
        folder = write_thin(Path(scratch), slices)
        _alone(stacked, folder)  # once, so that both find the files in the page cache
        own = [_alone(judged, folder) for _ in range(runs)]
        peer = [_alone(stacked, folder) for _ in range(runs)]
    own_s, peer_s = (statistics.median(cost.seconds for cost in costs) for costs in (own, peer))
    own_cpu_s, peer_cpu_s = (statistics.median(cost.processor_s for cost in costs) for costs in (own, peer))
    own_mib, peer_mib = (statistics.median(cost.peak_mib for cost in costs) for costs in (own, peer))
    figures = (
        Figure(what=PEER, value=peer_s, unit="s", ratio=1.0, peer=PEER),
        Figure(what="headers, gate, volume and content", value=own_s, unit="s", ratio=own_s / peer_s, peer=PEER),
        Figure(what="processor time, pydicom", value=peer_cpu_s, unit="s", ratio=1.0, peer=PEER),
        Figure(
            what="processor time, gate and volume", value=own_cpu_s, unit="s", ratio=own_cpu_s / peer_cpu_s, peer=PEER
        ),
        Figure(what="peak memory, pydicom", value=peer_mib, unit="MiB", ratio=1.0, peer=PEER),
        Figure(what="peak memory, gate and volume", value=own_mib, unit="MiB", ratio=own_mib / peer_mib, peer=PEER),
    )
    title = f"From {slices} files of 512 x 512 pixels to judged voxels"
    return benchmark(title, f"ichor benchmark volume --slices {slices} --runs {runs}", figures)


def write_thin(out: Path, slices: int) -> Path:
    """Write a head in thin slices: each a copy of the phantom's nearest thick one, at a place of its own."""
    write_phantom(out / "thick", PhantomPlan(slices=THICK))
    thick = [pydicom.dcmread(path) for path in sorted((out / "thick" / "dicom").glob("*.dcm"))]
    thick.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    folder = out / "thin"
    folder.mkdir()
    for number in range(slices):
        one = thick[number * len(thick) // slices]
        x, y, _ = one.ImagePositionPatient
        one.ImagePositionPatient = [x, y, f"{HEIGHT_MM * (number / (slices - 1) - 0.5):.4f}"]
        one.SliceThickness = f"{HEIGHT_MM / slices:.4f}"
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.InstanceNumber = number + 1
        one.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)
    return folder


def judged(folder: Path) -> None:
    """Read and judge as the node does; raise ValueError where the series is not found fit."""
    rules = load_rules(None)
    (study,) = read_studies([folder])
    verdict, *_ = judge(study, rules)
    look = look_at(study.series[0], verdict, rules)
    if not look.fit:
        raise ValueError("; ".join(reason.text for reason in look.reasons))


def stacked(folder: Path) -> None:
    """Read and stack, as a script would."""
    read = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    read.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    np.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in read]).astype(np.int16)


def _alone(work: Callable[[Path], None], folder: Path) -> Cost:
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, work, folder).result()


def _measured(work: Callable[[Path], None], folder: Path) -> Cost:
    began_s, began_processor_s = time.perf_counter(), time.process_time()
    work(folder)
    seconds, processor_s = time.perf_counter() - began_s, time.process_time() - began_processor_s
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kilobytes on Linux
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
    return Cost(seconds=seconds, processor_s=processor_s, peak_mib=peak_mib)
