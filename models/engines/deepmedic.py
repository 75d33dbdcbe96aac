"""The DeepMedic engine: windows fitted to where tissue can be, an ensemble streamed through them member by member.

The coarse paths see a head once per member, the fine path and the fused stage window by window. The region that the
coarse paths see starts at a multiple of the scale factors' least common multiple on the grid, so results do not depend
on the mask or on how windows are cut. Where the mask touches no cell nothing is computed and background is 1.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.inferers.inferer import Inferer
from torch.nn import functional

from ichor.errors import ModelCorrupted, ModelError
from models.engines.folded import FoldedDeepMedic, fold
from models.engines.hardware import DTYPES, resolve_device, resolve_precision, set_threads
from models.engines.memory import Descent, is_out_of_memory, ladder
from models.engines.rows import WantedVoxels
from models.engines.steady_heap import steady_heap
from models.engines.windows import Window, bounding_window, fit_windows, touched
from models.networks.deepmedic import Architecture, DeepMedic
from models.segmenter import OUTSIDE_HU, HeadGrid, Plan, Segmentation
from models.tissue import intracranial_tissue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from models.engines.memory import Rung
    from models.engines.rows import Cut
    from models.segmenter import Precision
    from models.spec import ModelSpec

ENGINE = "deepmedic-windows-2"

PROVEN_BFLOAT16 = frozenset({"cpu"})
"""Device types on which the ensemble's bfloat16 labels were measured to agree with float32.

Twelve members, a real head with a 15 mL bleed painted in, in a box of 80 x 110 x 130 mm round it: Dice 0.9999 over
haemorrhage, every class volume within 0.06 mL. Over the whole head it was measured with one member: 0.999 and 0.1 mL.
"""

CELL = 5
"""Voxels to which windows are rounded; finer cells fit the mask closer, and take longer to plan."""

CPU_WINDOW_VOXELS = 80**3
CUDA_WINDOW_VOXELS = 150**3
SHRINKS = (4, 16, 64)
"""Fractions of the voxels of a window that are tried where memory is short."""

WARM_SIDE = 15  # voxels: the least common multiple of the paths' scales


class RegionInferer(Inferer):
    """Runs a folded DeepMedic over a padded region, window by window.

    MONAI's SlidingWindowInferer wants windows and outputs of one size, uniform everywhere; valid convolutions over
    fitted windows, with coarse features shared between them, are neither.
    """

    def __init__(self, cuts: Sequence[Cut], region: Window) -> None:
        super().__init__()
        self.cuts = cuts
        self.region = region

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: FoldedDeepMedic, *args: Any, **kwargs: Any
    ) -> Iterator[tuple[Cut, torch.Tensor]]:
        """Yield (cut, float32 softmax of its rows) for a region (1, 1, D, H, W) padded by the network's margin."""
        del args, kwargs
        coarse = network.coarse_rows(inputs)
        border = network.margin - network.halo
        for cut in self.cuts:
            piece = inputs
            first = cut.window.within(self.region)
            for axis, (start, side) in enumerate(zip(first, cut.window.shape, strict=True), start=2):
                piece = piece.narrow(axis, start + border, side + 2 * network.halo)
            yield cut, network.window_probabilities(piece, coarse, cut.rows)


class DeepMedicSegmenter:
    """An ensemble of DeepMedic networks, loaded and folded; implements `models.segmenter.Segmenter`."""

    def __init__(
        self,
        spec: ModelSpec,
        networks: Sequence[FoldedDeepMedic],
        *,
        members: tuple[int, ...],
        precision: Precision,
        device: torch.device,
        window_voxels: int | None = None,
    ) -> None:
        self.spec = spec
        self.plan = Plan(model=spec.name, model_digest=spec.digest, members=members, precision=precision, engine=ENGINE)
        self.device = str(device)
        self._networks = tuple(networks)
        self._window_voxels = window_voxels
        self._rungs = ladder(device, batch=1, shrinks=SHRINKS)

    def warm(self) -> None:
        """Run the first member over one small window."""
        grid = HeadGrid(
            hu_zyx=np.full((WARM_SIDE,) * 3, OUTSIDE_HU, dtype=np.float32),
            spacing_zyx_mm=self.spec.spacing_zyx_mm,
            scanned_zyx=np.ones((WARM_SIDE,) * 3, dtype=np.bool_),
        )
        self._segment_with(self._networks[:1], grid, np.ones(grid.hu_zyx.shape, dtype=np.bool_), None)

    def windows(self, mask: npt.NDArray[np.bool_], rung: Rung | None = None) -> tuple[Window, ...]:
        """Return the windows that cover a mask on the grid; their size changes memory and time, never the answer."""
        rung = self._rungs[0] if rung is None else rung
        default = CUDA_WINDOW_VOXELS if rung.device.type == "cuda" else CPU_WINDOW_VOXELS
        most = default if self._window_voxels is None else self._window_voxels
        most = max(CELL**3, most // rung.shrink)
        return fit_windows(mask, cell=CELL, halo=self._networks[0].halo, most_voxels=most)

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
        return self._segment_with(self._networks, grid, mask_zyx, on_progress)

    def _segment_with(
        self,
        networks: Sequence[FoldedDeepMedic],
        grid: HeadGrid,
        mask_zyx: npt.NDArray[np.bool_],
        on_progress: Callable[[float], None] | None,
    ) -> Segmentation:
        run = _Run(
            grid=grid,
            classes=len(self.spec.labels) + 1,
            hu_window=self.spec.hu_window,
            wanted_zyx=touched(mask_zyx, CELL),
            windows=lru_cache(lambda rung: self.windows(mask_zyx, rung)),
            share=1.0 / len(networks),
            on_progress=on_progress,
        )
        descent = Descent(self._rungs)
        with torch.inference_mode(), steady_heap(), torch.backends.cudnn.flags(allow_tf32=False):
            for network in networks:
                started = time.perf_counter()
                descent.run(partial(run.add, network))
                run.seconds.append(time.perf_counter() - started)
        return Segmentation(
            probabilities_czyx=run.probabilities_czyx(),
            member_labels_mzyx=run.member_labels_mzyx(),
            voxel_ml=math.prod(grid.spacing_zyx_mm) / 1000.0,
            plan=self.plan,
            device=str(descent.rung.device),
            seconds_per_member=tuple(run.seconds),
            fallbacks=descent.steps,
        )


class _Run:
    """One study on its way through the members."""

    def __init__(
        self,
        *,
        grid: HeadGrid,
        classes: int,
        hu_window: tuple[float, float],
        wanted_zyx: npt.NDArray[np.bool_],
        windows: Callable[[Rung], tuple[Window, ...]],
        share: float,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        self.seconds: list[float] = []
        self._grid = grid
        self._hu_window = hu_window
        self._wanted = WantedVoxels(wanted_zyx)
        self._windows = windows
        self._share = share  # of the whole work, for each member
        self._on_progress = on_progress
        self._mean = torch.zeros((self._wanted.count, classes), dtype=torch.float32)
        self._labels: list[torch.Tensor] = []
        self._cut: dict[Rung, tuple[RegionInferer, torch.Tensor]] = {}

    def add(self, network: FoldedDeepMedic, rung: Rung) -> None:
        """Fold one member's softmax into the running mean, and keep its own labels.

        Where memory runs out on the way the mean is as it was: it is touched when all windows are done.
        """
        number = len(self._labels)
        parts = []
        if self._wanted.count:
            inferer, padded = self._prepared(network, rung)
            done = 0
            for cut, softmax in inferer(padded, network.on(rung.device)):
                parts.append((cut.at.to(rung.stitch_on), softmax.to(rung.stitch_on)))
                done += len(cut.at)
                if self._on_progress is not None:
                    self._on_progress((number + done / self._wanted.count) * self._share)
        answer = torch.empty(self._mean.shape, dtype=torch.float32, device=rung.stitch_on)
        for at, softmax in parts:
            answer[at] = softmax
        labels = answer.argmax(dim=1).to(torch.uint8).cpu()
        self._mean = self._mean.to(rung.stitch_on)
        self._mean.lerp_(answer, 1.0 / (number + 1))
        self._labels.append(labels)

    def probabilities_czyx(self) -> npt.NDArray[np.float32]:
        """Put the mean back onto the grid; background is 1 where nothing was computed."""
        mean = self._mean.cpu().numpy()
        out = np.zeros((mean.shape[1], *self._grid.hu_zyx.shape), dtype=np.float32)
        out[0] = 1.0
        for channel, rows in zip(out, mean.T, strict=True):
            self._wanted.put(channel, rows)
        return out

    def member_labels_mzyx(self) -> npt.NDArray[np.uint8]:
        """Put each member's labels back onto the grid."""
        out = np.zeros((len(self._labels), *self._grid.hu_zyx.shape), dtype=np.uint8)
        for member, labels in zip(out, self._labels, strict=True):
            self._wanted.put(member, labels.numpy())
        return out

    def _prepared(self, network: FoldedDeepMedic, rung: Rung) -> tuple[RegionInferer, torch.Tensor]:
        """Cut windows and padded region for a rung, once for all members."""
        if rung not in self._cut:
            windows = self._windows(rung)
            region = bounding_window(windows).aligned(math.lcm(*(path.factor for path in network.coarse)))
            lattices = network.lattices(region.shape)
            cuts = tuple(self._wanted.cut(window, region, lattices, rung.device) for window in windows)
            padded = _padded_region(self._grid, self._hu_window, region, margin=network.margin)
            self._cut[rung] = RegionInferer(cuts, region), padded.to(rung.device)
        return self._cut[rung]


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
    networks = [
        fold(_read_network(architecture, file), dtype=DTYPES[resolved], device=resolved_device) for file in files
    ]
    return DeepMedicSegmenter(spec, networks, members=members, precision=resolved, device=resolved_device)


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


def _padded_region(grid: HeadGrid, hu_window: tuple[float, float], region: Window, *, margin: int) -> torch.Tensor:
    """Return a region with its margin as (1, 1, D, H, W), scaled to [-1, 1], -1 outside the scan."""
    low, high = hu_window
    start = [first - margin for first in region.start]
    stop = [last + margin for last in region.stop]
    inside = tuple(
        slice(max(0, first), min(last, side)) for first, last, side in zip(start, stop, grid.hu_zyx.shape, strict=True)
    )
    hu = torch.from_numpy(np.ascontiguousarray(grid.hu_zyx[inside], dtype=np.float32))
    scaled = (2.0 * hu.clamp(low, high) - (low + high)) / (high - low)
    scaled[torch.from_numpy(~grid.scanned_zyx[inside])] = -1.0
    pads = [
        amount
        for first, last, part in reversed(list(zip(start, stop, inside, strict=True)))
        for amount in (part.start - first, last - part.stop)
    ]
    return functional.pad(scaled, pads, value=-1.0)[None, None]
