"""nnU-Net's tiles: even steps of at most half a tile, weighted with a Gaussian, summed in half precision.

Isensee et al., Nature Methods 2021;18:203. MONAI's sliding windows stand elsewhere and are weighted otherwise; here
positions, weights and the type of the sums are nnU-Net's own, so that labels are the same to the voxel.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.inferers.inferer import Inferer
from scipy import ndimage
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 0.5  # of a tile
SIGMA = 1 / 8  # of a tile
LARGEST_WEIGHT = 10.0  # keeps the small weights of the rim within what half precision can hold


class TileInferer(Inferer):
    """Runs a network over an image (1, 1, a, b, c), tile by tile; returns logits (1, classes, a, b, c) in half."""

    def __init__(self, tile: tuple[int, int, int], *, stitch_on: torch.device) -> None:
        super().__init__()
        self.tile = tile
        self._stitch_on = stitch_on

    def __call__(
        self, inputs: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Stitch the network's logits together."""
        del args, kwargs
        missing = [_missing(side, tile) for side, tile in zip(inputs.shape[2:], self.tile, strict=True)]
        pads = [amount for pair in reversed(missing) for amount in pair]
        image = functional.pad(inputs, pads) if any(pads) else inputs
        weights = importance(self.tile).to(self._stitch_on)
        logits: torch.Tensor | None = None
        total = torch.zeros(image.shape[2:], dtype=torch.half, device=self._stitch_on)
        for start in itertools.product(*map(starts, image.shape[2:], self.tile)):
            z, y, x = (slice(first, first + side) for first, side in zip(start, self.tile, strict=True))
            answer = network(image[..., z, y, x].contiguous())[0].to(self._stitch_on)
            if logits is None:
                shape = (answer.shape[0], *image.shape[2:])
                logits = torch.zeros(shape, dtype=torch.half, device=self._stitch_on)
            logits[:, z, y, x] += answer * weights
            total[z, y, x] += weights
        if logits is None:  # an image has at least one tile
            raise ValueError("an image without voxels")
        logits /= total
        z, y, x = (slice(before, before + side) for (before, _), side in zip(missing, inputs.shape[2:], strict=True))
        return logits[None, :, z, y, x]


def starts(side: int, tile: int) -> list[int]:
    """Return where tiles begin along one axis: as few as steps of half a tile allow, evenly spread."""
    count = math.ceil((side - tile) / (tile * STEP)) + 1
    if count == 1:
        return [0]
    # numpy rounds halves to even, as nnU-Net's steps are rounded
    return [int(np.round((side - tile) / (count - 1) * number)) for number in range(count)]


@lru_cache(maxsize=4)
def importance(tile: tuple[int, int, int]) -> torch.Tensor:
    """Return the weights of a tile, half precision, at most LARGEST_WEIGHT and nowhere 0."""
    impulse = np.zeros(tile)
    impulse[tuple(side // 2 for side in tile)] = 1.0
    smooth = ndimage.gaussian_filter(impulse, [side * SIGMA for side in tile], mode="constant")
    weights = torch.from_numpy(smooth / (smooth.max() / LARGEST_WEIGHT)).half()
    weights[weights == 0] = weights[weights > 0].min()
    return weights


def _missing(side: int, tile: int) -> tuple[int, int]:
    """Return what an axis lacks for one tile, before and after."""
    lacking = max(0, tile - side)
    return lacking // 2, lacking - lacking // 2
