"""Seconds, memory and agreement of the engine on a whole head, with and without a bleed painted in.

The peers are the original's windows (110 to 30 voxels) on the same network, of which a few are timed, and our own
float32, which is the reference of the fast path.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from console.benchmark.figures import GIB, Benchmark, Figure, benchmark
from console.benchmark.memory import PeakMemory
from ichor.errors import ModelError
from models.phantoms import PhantomPlan, write_phantom
from models.tissue import intracranial_tissue
from worker.grid import resample
from worker.series import read_studies
from worker.volume import read_volume

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from models.registry import Registry
    from models.segmenter import HeadGrid, Precision, Segmentation
    from models.spec import ModelSpec

ORIGINAL_IN, ORIGINAL_OUT = 110, 30  # blast_ct/data/config.json: window and its output, voxels a side
SAMPLE_WINDOWS = 7
ORIGINAL = "windows of 110 to 30 voxels over the whole grid"
PAINTED_ML, PAINTED_HU, PAINTED_NOISE_HU = 15.0, 68.0, 4.0
LEFT_OF_CENTRE_MM = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two answers on one grid agree."""

    dice: float  # over all haemorrhage; 1 where neither marks any
    largest_difference_ml: float  # of the volumes of a class


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    labels_zyx: npt.NDArray[np.uint8]  # not the whole answer: it would count as the next run's memory
    voxel_ml: float
    s_per_member: float
    peak_gib: float


def measure_engine(
    registry: Registry, *, name: str, members: int, device: str, threads: int, head: Path | None = None
) -> Benchmark:
    """Run the members on a head in float32 and on the fast path, clean and with a bleed painted in."""
    spec = registry.spec(name)
    clean = head_grid(spec, head)
    bled = painted(clean)
    original_s = original_windows_s(spec, clean) if spec.family == "deepmedic" else None
    figures: list[Figure] = []
    if original_s is not None:
        figures.append(Figure(what=ORIGINAL, value=original_s, unit="s/member", ratio=1.0, peer=ORIGINAL))
    answers: dict[str, list[_Measured]] = {}
    for precision in ("float32", "auto"):
        segmenter = registry.load(name, members=members, device=device, precision=precision, threads=threads)
        segmenter.warm()
        answers[precision] = [_measured(segmenter.segment, grid) for grid in (clean, bled)]
        ran: Precision = segmenter.plan.precision
        what = f"{segmenter.plan.engine}, {ran} on {segmenter.device}"
        figures += _figures(what, answers[precision], original_s)
    for what, number in (("clean head", 0), (f"{PAINTED_ML:g} mL painted in", 1)):
        reference, fast = (answers[precision][number] for precision in ("float32", "auto"))
        found = agreement(reference.labels_zyx, fast.labels_zyx, spec, voxel_ml=reference.voxel_ml)
        figures.append(Figure(what=f"{what}: Dice of haemorrhage, fast against float32", value=found.dice, unit=""))
        figures.append(
            Figure(what=f"{what}: largest difference of a class", value=found.largest_difference_ml, unit="mL")
        )
    shape = " x ".join(str(side) for side in clean.hu_zyx.shape)
    command = f"ichor benchmark engine --model {name} --members {members}{'' if head is None else ' --head DIR'}"
    return benchmark(f"{name} on a head of {shape} voxels", command, tuple(figures))


def agreement(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], spec: ModelSpec, *, voxel_ml: float
) -> Agreement:
    """Compare the labels (z, y, x) of two answers on the same grid."""
    blood = [label.index for label in spec.haemorrhage_labels]
    marked, also = np.isin(first, blood), np.isin(second, blood)
    both = int(marked.sum()) + int(also.sum())
    differences = [abs(int((first == label.index).sum()) - int((second == label.index).sum())) for label in spec.labels]
    return Agreement(
        dice=1.0 if both == 0 else 2.0 * int((marked & also).sum()) / both,
        largest_difference_ml=max(differences) * voxel_ml,
    )


def painted(grid: HeadGrid) -> HeadGrid:
    """Return the head with a ball of blood in the left half of what lies inside the skull."""
    inside = np.argwhere(intracranial_tissue(grid))
    spacing = np.asarray(grid.spacing_zyx_mm)
    centre_mm = inside.mean(axis=0) * spacing + np.array([0.0, 0.0, LEFT_OF_CENTRE_MM])
    radius_mm = (PAINTED_ML * 1000.0 * 3.0 / (4.0 * math.pi)) ** (1 / 3)
    z, y, x = np.ogrid[tuple(slice(0, side) for side in grid.hu_zyx.shape)]
    away = [(index * step - at) ** 2 for index, step, at in zip((z, y, x), spacing, centre_mm, strict=True)]
    ball = (away[0] + away[1] + away[2] <= radius_mm**2) & grid.scanned_zyx
    hu = grid.hu_zyx.copy()
    random = np.random.default_rng(1)
    hu[ball] = random.normal(PAINTED_HU, PAINTED_NOISE_HU, int(ball.sum())).astype(np.float32)
    return replace(grid, hu_zyx=hu)


def head_grid(spec: ModelSpec, head: Path | None) -> HeadGrid:
    """Make the grid that the model sees of a head: the series in a folder, else a phantom."""
    with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
        if head is None:
            write_phantom(Path(scratch), PhantomPlan(seed=1))
        studies = read_studies([Path(scratch) / "dicom" if head is None else head])
        if len(studies) != 1:
            raise ModelError(f"There are {len(studies)} studies in {head}; give one.")
        largest = max(studies[0].series, key=lambda series: len(series.headers))
        return resample(read_volume(largest), spec.spacing_zyx_mm).grid


def original_windows_s(spec: ModelSpec, grid: HeadGrid) -> float:
    """Time the network on a few original-size windows and multiply the fastest by how many cover the grid.

    The fastest, as of our own runs: what else the machine did meanwhile shall not make us look better.
    """
    # Delayed: torch takes a second to import, and the other benchmarks do without it.
    import torch

    from models.networks.deepmedic import Architecture, DeepMedic

    network = DeepMedic(Architecture.from_parameters(spec.parameters, classes=len(spec.labels) + 1)).eval()
    window = torch.zeros(1, 1, ORIGINAL_IN, ORIGINAL_IN, ORIGINAL_IN)
    with torch.inference_mode():
        network(window)
        seconds = []
        for _ in range(SAMPLE_WINDOWS):
            began_s = time.perf_counter()
            network(window)
            seconds.append(time.perf_counter() - began_s)
    windows = math.prod(math.ceil(side / ORIGINAL_OUT) for side in grid.hu_zyx.shape)
    return float(min(seconds) * windows)


def _measured(segment: Callable[[HeadGrid], Segmentation], grid: HeadGrid) -> _Measured:
    with PeakMemory() as memory:
        segmentation = segment(grid)
    seconds = segmentation.seconds_per_member
    return _Measured(
        labels_zyx=segmentation.probabilities_czyx.argmax(axis=0).astype(np.uint8),
        voxel_ml=segmentation.voxel_ml,
        s_per_member=sum(seconds) / len(seconds),
        peak_gib=memory.peak_bytes / GIB,
    )


def _figures(what: str, runs: list[_Measured], original_s: float | None) -> list[Figure]:
    own_s = min(run.s_per_member for run in runs)
    ratio = None if original_s is None else original_s / own_s
    peak = max(run.peak_gib for run in runs)
    return [
        Figure(what=what, value=own_s, unit="s/member", ratio=ratio, peer="" if ratio is None else ORIGINAL),
        Figure(what=f"{what}: peak memory of the process", value=peak, unit="GiB"),
    ]
