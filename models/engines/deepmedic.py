"""The DeepMedic engine: windows fitted to where tissue can be, an ensemble streamed through them member by member.

The coarse paths see a head once per member, the fine path and the fused stage window by window. Where the mask touches
no cell nothing is computed and background is 1. What bfloat16 leaves undecided between blood and something else is seen
a second time, by all members in float32.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ichor.errors import ModelCorrupted, ModelError
from models.engines.borderline import borderline
from models.engines.ensemble_run import EnsembleRun
from models.engines.folded import FoldedDeepMedic, fold
from models.engines.hardware import DTYPES, resolve_device, resolve_precision, set_threads
from models.engines.memory import Descent, is_out_of_memory, ladder
from models.engines.steady_heap import steady_heap
from models.engines.windows import Window, fit_windows, touched
from models.networks.deepmedic import Architecture, DeepMedic
from models.segmenter import OUTSIDE_HU, HeadGrid, Plan, Segmentation
from models.tissue import intracranial_tissue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from models.engines.ensemble_run import Groups
    from models.engines.memory import Rung
    from models.segmenter import Precision
    from models.spec import ModelSpec

ENGINE = "deepmedic-windows-3"

PROVEN_BFLOAT16 = frozenset({"cpu"})
"""Device types on which the ensemble's bfloat16 labels were measured to agree with float32 (docs/benchmarks.md)."""

CELL = 5
"""Voxels to which windows are rounded; finer cells fit the mask closer, and take longer to plan."""

CPU_WINDOW_VOXELS = 80**3
CUDA_WINDOW_VOXELS = 150**3
SHRINKS = (4, 16, 64)
"""Fractions of the voxels of a window that are tried where memory is short."""

WARM_SIDE = 15  # voxels: the least common multiple of the paths' scales
SECOND_SHARE = 0.1  # of the progress that is shown, for what is seen again


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network as it runs, and in float32 where it runs in something else."""

    network: FoldedDeepMedic
    exact: FoldedDeepMedic | None = None


class DeepMedicSegmenter:
    """An ensemble of DeepMedic networks, loaded and folded; implements `models.segmenter.Segmenter`."""

    def __init__(
        self,
        spec: ModelSpec,
        networks: Sequence[Member],
        *,
        members: tuple[int, ...],
        precision: Precision,
        device: torch.device,
        window_voxels: int | None = None,
    ) -> None:
        self.spec = spec
        self.plan = Plan(model=spec.name, model_digest=spec.digest, members=members, precision=precision, engine=ENGINE)
        self.device = str(device)
        self._members = tuple(networks)
        self._window_voxels = window_voxels
        self._rungs = ladder(device, batch=1, shrinks=SHRINKS)

    def warm(self) -> None:
        """Run the first member over one small window."""
        grid = HeadGrid(
            hu_zyx=np.full((WARM_SIDE,) * 3, OUTSIDE_HU, dtype=np.float32),
            spacing_zyx_mm=self.spec.spacing_zyx_mm,
            scanned_zyx=np.ones((WARM_SIDE,) * 3, dtype=np.bool_),
        )
        self._segment_with(self._members[:1], grid, np.ones(grid.hu_zyx.shape, dtype=np.bool_), None)

    def windows(self, mask: npt.NDArray[np.bool_], rung: Rung | None = None) -> tuple[Window, ...]:
        """Return the windows that cover a mask on the grid; their size changes memory and time, never the answer."""
        rung = self._rungs[0] if rung is None else rung
        default = CUDA_WINDOW_VOXELS if rung.device.type == "cuda" else CPU_WINDOW_VOXELS
        most = default if self._window_voxels is None else self._window_voxels
        most = max(CELL**3, most // rung.shrink)
        return fit_windows(mask, cell=CELL, halo=self._members[0].network.halo, most_voxels=most)

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment a head; raise ModelError where the grid's spacing is not the spec's."""
        if not np.allclose(grid.spacing_zyx_mm, self.spec.spacing_zyx_mm, atol=1e-3):
            raise ModelError(
                f"Model {self.spec.name} needs a grid of {self.spec.spacing_zyx_mm} mm, not {grid.spacing_zyx_mm} mm."
            )
        return self.segment_where(grid, intracranial_tissue(grid), on_progress=on_progress)

    def segment_where(
        self, grid: HeadGrid, mask_zyx: npt.NDArray[np.bool_], *, on_progress: Callable[[float], None] | None = None
    ) -> Segmentation:
        """Segment every cell that a mask on the grid touches."""
        return self._segment_with(self._members, grid, mask_zyx, on_progress)

    def _segment_with(
        self,
        networks: Sequence[Member],
        grid: HeadGrid,
        mask_zyx: npt.NDArray[np.bool_],
        on_progress: Callable[[float], None] | None,
    ) -> Segmentation:
        descent = Descent(self._rungs)
        exact = [member.exact for member in networks if member.exact is not None]
        bar = _Bar(on_progress, len(networks), share=1.0 - SECOND_SHARE if exact else 1.0)
        with torch.inference_mode(), steady_heap(), torch.backends.cudnn.flags(allow_tf32=False):
            wanted = touched(mask_zyx, CELL)
            first = self._run(grid, wanted, lambda rung: (self.windows(mask_zyx, rung),), bar)
            seconds = _timed(first, [member.network for member in networks], descent)
            shape = grid.hu_zyx.shape
            probabilities = np.zeros((len(self.spec.labels) + 1, *shape), dtype=np.float32)
            probabilities[0] = 1.0
            labels = np.zeros((len(networks), *shape), dtype=np.uint8)
            first.write_onto(probabilities, labels)
            if exact:
                unsure = first.where(partial(borderline, blood=[label.index for label in self.spec.haemorrhage_labels]))
                bar = _Bar(on_progress, len(networks), begin=1.0 - SECOND_SHARE, share=SECOND_SHARE)
                second = self._run(grid, unsure, lambda rung: tuple((one,) for one in self.windows(unsure, rung)), bar)
                again = _timed(second, exact, descent)
                seconds = [one + other for one, other in zip(seconds, again, strict=True)]
                second.write_onto(probabilities, labels)
        bar.fill()
        return Segmentation(
            probabilities_czyx=probabilities,
            member_labels_mzyx=labels,
            voxel_ml=math.prod(grid.spacing_zyx_mm) / 1000.0,
            plan=self.plan,
            device=str(descent.rung.device),
            seconds_per_member=tuple(seconds),
            fallbacks=descent.steps,
        )

    def _run(
        self, grid: HeadGrid, wanted_zyx: npt.NDArray[np.bool_], groups: Callable[[Rung], Groups], bar: _Bar
    ) -> EnsembleRun:
        return EnsembleRun(
            grid,
            wanted_zyx,
            groups,
            classes=len(self.spec.labels) + 1,
            hu_window=self.spec.hu_window,
            on_done=bar.show,
        )


@dataclass(frozen=True, slots=True)
class _Bar:
    """A part of the whole progress, shared evenly by the members."""

    on_progress: Callable[[float], None] | None
    members: int
    begin: float = 0.0
    share: float = 1.0

    def show(self, member: int, done: float) -> None:
        if self.on_progress is not None:
            self.on_progress(self.begin + self.share * (member + done) / self.members)

    def fill(self) -> None:
        if self.on_progress is not None:
            self.on_progress(1.0)


def _timed(run: EnsembleRun, networks: Sequence[FoldedDeepMedic], descent: Descent) -> list[float]:
    """Send a run through networks, each on the highest rung that its memory allows; return the seconds of each."""
    seconds = []
    for network in networks:
        started = time.perf_counter()
        descent.run(partial(run.add, network))
        seconds.append(time.perf_counter() - started)
    run.let_go()
    return seconds


def load_deepmedic(
    spec: ModelSpec,
    files: Sequence[Path],
    *,
    members: tuple[int, ...],
    device: str,
    precision: str,
    threads: int,
) -> DeepMedicSegmenter:
    """Load one verified weight file per member and fold it; raise ModelError where a file does not fit the spec."""
    set_threads(threads)
    resolved_device = resolve_device(device)
    resolved = resolve_precision(precision, resolved_device, proven_bfloat16=PROVEN_BFLOAT16)
    architecture = Architecture.from_parameters(spec.parameters, classes=len(spec.labels) + 1)
    networks = [_member(_read_network(architecture, file), DTYPES[resolved], resolved_device) for file in files]
    return DeepMedicSegmenter(spec, networks, members=members, precision=resolved, device=resolved_device)


def _member(network: DeepMedic, dtype: torch.dtype, device: torch.device) -> Member:
    exact = None if dtype == torch.float32 else fold(network, dtype=torch.float32, device=device)
    return Member(network=fold(network, dtype=dtype, device=device), exact=exact)


def _read_network(architecture: Architecture, file: Path) -> DeepMedic:
    with torch.device("meta"):
        network = DeepMedic(architecture)
    # weights_only: a pickle that holds anything but tensors is refused, and nothing in it runs
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state, strict=True, assign=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise  # the file is sound, the host is full
        raise ModelCorrupted(f"{file.name} does not hold the weights that its spec describes: {error}") from error
    return network.eval()
