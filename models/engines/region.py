"""A region of a head under a folded DeepMedic: padded once, seen by the coarse paths once, then window by window.

A region starts at a multiple of the scale factors' least common multiple on the grid, so results do not depend on the
mask, on how windows are cut, or on which windows share a region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.inferers.inferer import Inferer
from torch.nn import functional

from models.engines.windows import Window, bounding_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.engines.folded import FoldedDeepMedic
    from models.engines.rows import Cut, WantedVoxels
    from models.segmenter import HeadGrid


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Windows that share a region, and the region's voxels on a device."""

    inferer: RegionInferer
    padded: torch.Tensor  # (1, 1, D, H, W)

    @classmethod
    def of(
        cls,
        windows: tuple[Window, ...],
        wanted: WantedVoxels,
        grid: HeadGrid,
        *,
        hu_window: tuple[float, float],
        network: FoldedDeepMedic,
        device: torch.device,
    ) -> Region:
        """Lay the smallest region round some windows, for any network of `network`'s shape."""
        box = bounding_window(windows).aligned(math.lcm(*(path.factor for path in network.coarse)))
        lattices = network.lattices(box.shape)
        cuts = tuple(wanted.cut(window, box, lattices, device) for window in windows)
        padded = _padded(grid, hu_window, box, margin=network.margin)
        return cls(inferer=RegionInferer(cuts, box), padded=padded.to(device))

    def answers(self, network: FoldedDeepMedic) -> Iterator[tuple[Cut, torch.Tensor]]:
        """Yield (cut, float32 softmax of its rows)."""
        yield from self.inferer(self.padded, network)


def _padded(grid: HeadGrid, hu_window: tuple[float, float], region: Window, *, margin: int) -> torch.Tensor:
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
