"""The engine for same-size networks: windows that overlap, blended with a Gaussian.

For every family but `deepmedic`. MONAI's SlidingWindowInferer cuts the windows, nnU-Net's own tiles where the spec's
parameters say `"tiling": "nnunet"`. Where they do not say `everywhere`, only the box round where intracranial tissue
can be is computed; outside it background is 1.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from monai.inferers.inferer import Inferer, SlidingWindowInferer

from ichor.errors import ModelError
from models.engines.hardware import DTYPES, lay_channels_last
from models.engines.memory import Descent, is_out_of_memory, ladder
from models.engines.preparation import Preparation
from models.engines.tiles import TileInferer
from models.engines.window_plan import WindowPlan
from models.engines.windows import Window
from models.segmenter import OUTSIDE_HU, Plan, Segmentation
from models.symmetry import MidPlane
from models.tissue import intracranial_tissue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from torch import nn

    from models.engines.memory import Rung
    from models.segmenter import HeadGrid, Precision
    from models.spec import ModelSpec

ENGINE = "sliding-window-1"
TILES_ENGINE = "nnunet-tiles-1"

BATCH_WINDOWS = {"cpu": 1, "cuda": 4}
"""Windows at once: more only helps a GPU that one window leaves idle."""


class SlidingWindowSegmenter:
    """Networks whose output has the size of their input; implements `models.segmenter.Segmenter`."""

    def __init__(
        self,
        spec: ModelSpec,
        networks: Sequence[nn.Module],
        *,
        members: tuple[int, ...],
        precision: Precision,
        device: torch.device,
        batch: int | None = None,
    ) -> None:
        self.spec = spec
        self._windows = WindowPlan.from_parameters(spec.parameters)
        self._tiles = self._windows.tiling == "nnunet"
        engine = TILES_ENGINE if self._tiles else ENGINE
        self.plan = Plan(model=spec.name, model_digest=spec.digest, members=members, precision=precision, engine=engine)
        self.device = str(device)
        self._networks = tuple(networks)
        self._preparation = Preparation.from_spec(spec)
        self._answer_hu = _answer_hu(spec)
        self._rungs = ladder(
            device,
            batch=BATCH_WINDOWS.get(device.type, 1) if batch is None else batch,
            # nnU-Net's labels depend on its tiles: smaller ones would be another model
            shrinks=() if self._tiles else self._windows.shrinks,
        )

    def warm(self) -> None:
        """Run one empty window through every member; raise ModelError where the network cannot take it."""
        a, b, c = self._windows.window
        rung = self._rungs[0]
        with torch.inference_mode():
            for network in self._networks:
                self._place(network, rung)
                try:
                    logits = network(torch.zeros(1, self._preparation.views, a, b, c, device=rung.device))
                except Exception as error:
                    if is_out_of_memory(error):
                        raise  # the network may be sound, the host is full
                    why = str(error).splitlines()[0]
                    raise ModelError(
                        f"The network of {self.spec.name} cannot take windows of {a} x {b} x {c}: {why}"
                    ) from error
                self._check_logits(logits, (a, b, c))

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment a head; raise ModelError where the grid's spacing is not the spec's."""
        if not np.allclose(grid.spacing_zyx_mm, self.spec.spacing_zyx_mm, atol=1e-3):
            raise ModelError(
                f"Model {self.spec.name} needs a grid of {self.spec.spacing_zyx_mm} mm, not {grid.spacing_zyx_mm} mm."
            )
        shape = grid.hu_zyx.shape
        probabilities = np.zeros((len(self.spec.labels) + 1, *shape), dtype=np.float32)
        probabilities[0] = 1.0
        member_labels = np.zeros((len(self._networks), *shape), dtype=np.uint8)
        seconds = [0.0] * len(self._networks)
        descent = Descent(self._rungs)
        box = self._box(grid)
        if box is not None:
            index = box.slices(shape)
            image = self._preparation.tensor(*self._views(grid, index))
            kind = torch.half if self._tiles else torch.float32
            mean = torch.zeros((probabilities.shape[0], *grid.hu_zyx[index].shape), dtype=kind)
            with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
                for number, network in enumerate(self._networks):
                    started = time.perf_counter()
                    logits = self._preparation.back(descent.run(partial(self._logits, network, image)))
                    member_labels[(number, *index)] = logits.argmax(dim=0).to(torch.uint8).numpy()
                    if self._tiles:
                        mean += logits  # nnU-Net averages the logits of its folds, in half precision
                    else:
                        mean.lerp_(logits.softmax(dim=0), 1.0 / (number + 1))
                    seconds[number] = time.perf_counter() - started
                    if on_progress is not None:
                        on_progress((number + 1) / len(self._networks))
            if self._tiles:
                mean = (mean / len(self._networks)).float().softmax(dim=0)
            probabilities[(slice(None), *index)] = mean.numpy()
        if self._answer_hu is not None:
            # a network whose loss was masked never learnt what to say there
            outside = (grid.hu_zyx < self._answer_hu[0]) | (grid.hu_zyx > self._answer_hu[1])
            probabilities[:, outside] = 0.0
            probabilities[0, outside] = 1.0
            member_labels[:, outside] = 0
        return Segmentation(
            probabilities_czyx=probabilities,
            member_labels_mzyx=member_labels,
            voxel_ml=math.prod(grid.spacing_zyx_mm) / 1000.0,
            plan=self.plan,
            device=str(descent.rung.device),
            seconds_per_member=tuple(seconds),
            fallbacks=descent.steps,
        )

    def _box(self, grid: HeadGrid) -> Window | None:
        if self._windows.everywhere:
            z, y, x = grid.hu_zyx.shape
            return Window(start=(0, 0, 0), stop=(z, y, x))
        a, b, c = (self._windows.window[self._preparation.axis(number)] for number in range(3))
        return _box_round(intracranial_tissue(grid), (a, b, c))

    def _views(self, grid: HeadGrid, index: tuple[slice, slice, slice]) -> list[npt.NDArray[np.float32]]:
        """Return the scan in a box of the grid, and what lies opposite where the network compares."""
        scan = _outside_scan_is_air(grid, index)
        if not self._preparation.mirror_image:
            return [scan]
        everywhere = _outside_scan_is_air(grid, (slice(None), slice(None), slice(None)))
        return [scan, MidPlane.of(grid).mirrored(everywhere, grid.spacing_zyx_mm, index)]

    def _logits(self, network: nn.Module, image: torch.Tensor, rung: Rung) -> torch.Tensor:
        """Return logits (classes, a, b, c) on the CPU, in the network's axes."""
        self._place(network, rung)
        wanted = DTYPES[self.plan.precision]
        inferer = self._inferer(rung)
        with torch.autocast(rung.device.type, dtype=wanted, enabled=wanted is not torch.float32):
            logits = inferer(image.to(rung.stitch_on), lambda window: self._look(network, window.to(rung.device)))
        self._check_logits(logits, tuple(image.shape[2:]))
        stitched: torch.Tensor = logits[0]
        return stitched.cpu()

    def _place(self, network: nn.Module, rung: Rung) -> None:
        network.to(rung.device)
        if self._tiles:
            return  # nnU-Net's own order of sums is part of its answer
        lay_channels_last(network)

    def _look(self, network: nn.Module, window: torch.Tensor) -> torch.Tensor:
        """Return the network's logits of windows, averaged over their mirror images where the spec asks for these."""
        mirrors = self._windows.mirrors
        total = network(window)
        for axes in mirrors[1:]:
            along = [2 + axis for axis in axes]
            total = total + network(window.flip(along)).flip(along)
        answer: torch.Tensor = total if len(mirrors) == 1 else total / len(mirrors)
        return answer.float()

    def _inferer(self, rung: Rung) -> Inferer:
        if self._tiles:
            return TileInferer(self._windows.window, stitch_on=rung.stitch_on)
        return SlidingWindowInferer(
            roi_size=self._windows.shrunk(rung.shrink),
            sw_batch_size=rung.batch,
            overlap=self._windows.overlap,
            mode=self._windows.blend,
            padding_mode="constant",
            cval=self._windows.padding,
            sw_device=rung.device,
            device=rung.stitch_on,
        )

    def _check_logits(self, logits: object, sides: tuple[int, ...]) -> None:
        expected = (len(self.spec.labels) + 1, *sides)
        if not isinstance(logits, torch.Tensor) or tuple(logits.shape[1:]) != expected:
            raise ModelError(f"The network of {self.spec.name} does not answer with one channel for each label.")


def _answer_hu(spec: ModelSpec) -> tuple[float, float] | None:
    """Return the range of HU in which the model answers, None for all; raise ModelError where it is none."""
    said = spec.parameters.get("answer_hu")
    if said is None:
        return None
    if (
        isinstance(said, list)
        and len(said) == 2
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in said)
        and said[0] < said[1]
    ):
        return float(said[0]), float(said[1])
    raise ModelError(f"The spec's parameter answer_hu must be [low, high] with low < high, not {said!r}.")


def _outside_scan_is_air(grid: HeadGrid, index: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
    return np.where(grid.scanned_zyx[index], grid.hu_zyx[index], np.float32(OUTSIDE_HU))


def _box_round(mask: npt.NDArray[np.bool_], window_zyx: tuple[int, int, int]) -> Window | None:
    """Return the box round a mask with a quarter window of context on each side; None where the mask is empty."""
    bounds = []
    for axis, side in enumerate(window_zyx):
        others = tuple(other for other in range(3) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if not len(hits):
            return None
        bounds.append((max(0, int(hits[0]) - side // 4), min(mask.shape[axis], int(hits[-1]) + 1 + side // 4)))
    (z0, z1), (y0, y1), (x0, x1) = bounds
    return Window(start=(z0, y0, x0), stop=(z1, y1, x1))
