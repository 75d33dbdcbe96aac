"""Hybrid 2D/3D U-Net: two encoders, within slices and across them, that exchange what they see at every level.

Paper: Hu et al., NeuroImage 2023;279:120321 (aneurysmal SAH with IPH and IVH), rebuilt from its description; their code
has no licence and was not used. Each level convolves twice within slices (batch norm) and twice across them (instance
norm), weighs both by spatial attention (mean and maximum over the channels, one convolution) and hands both to both. A
3D decoder answers; while training one across and one within slices answer too. With five windows and four classes it
has the published 24.57 million parameters. Deviations: the two auxiliary decoders answer every class (theirs blood or
not); HU outside a window are clipped (theirs 0); heads are not stripped and cropped, slices not counted out. Their
windows are 0-100, 10-90, 20-80, 30-80 and 40-80 HU. Sides y and x must be multiples of 8.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn
from torch.nn import functional

from models.networks.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Kernel = tuple[int, int, int]

PUBLISHED_PARAMETERS = 24.57e6
FILTERS = (32, 64, 128, 256)
_WITHIN, _ACROSS = (1, 3, 3), (3, 3, 3)
_ATTENTION = {_WITHIN: (1, 5, 5), _ACROSS: (3, 5, 5)}
_NORM = {_WITHIN: ("BATCH", {"affine": True}), _ACROSS: ("INSTANCE", {"affine": True})}
_STEP = (1, 2, 2)


class SpatialAttention(nn.Module):
    """Weigh every voxel by the mean and the maximum of the channels round it."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(2, 1, kernel, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighed features."""
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.convolution(seen))


class HybridDecoder(nn.Module):
    """From the features of all levels, finest first, to logits."""

    def __init__(self, kernel: Kernel, *, filters: Sequence[int], classes: int) -> None:
        super().__init__()
        deepest_first = tuple(reversed(filters))
        above = (0, *deepest_first[1:])  # channels that come up from below
        self.join = nn.ModuleList(
            _block(2 * width + risen, width, kernel) for width, risen in zip(deepest_first, above, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(deep, shallow, _STEP, stride=_STEP) for deep, shallow in pairwise(deepest_first)
        )
        self.head = nn.Conv3d(filters[0], classes, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return logits."""
        x = self.join[0](levels[-1])
        for up, join, features in zip(self.up, self.join[1:], reversed(levels[:-1]), strict=True):
            x = join(torch.cat([features, up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


class HybridUNet(nn.Module):
    """(batch, channels, z, y, x) to (batch, classes, z, y, x) logits, while training of three decoders."""

    def __init__(self, *, in_channels: int, classes: int, filters: Sequence[int]) -> None:
        super().__init__()
        inputs = (in_channels, *(2 * width for width in filters[:-1]))
        self.within, self.across = (
            nn.ModuleList(
                nn.Sequential(_block(before, after, kernel), SpatialAttention(_ATTENTION[kernel]))
                for before, after in zip(inputs, filters, strict=True)
            )
            for kernel in (_WITHIN, _ACROSS)
        )
        self.decoder = HybridDecoder(_ACROSS, filters=filters, classes=classes)
        self.auxiliary = nn.ModuleList(
            HybridDecoder(kernel, filters=filters, classes=classes) for kernel in (_ACROSS, _WITHIN)
        )

    def forward(self, x: Tensor) -> Tensor | Answer:
        """Return logits."""
        levels: list[Tensor] = []
        for within, across in zip(self.within, self.across, strict=True):
            seen = functional.max_pool3d(levels[-1], _STEP) if levels else x
            levels.append(torch.cat([within(seen), across(seen)], dim=1))
        logits: Tensor = self.decoder(levels)
        if not self.training:
            return logits
        return Answer(logits=logits, auxiliary=tuple(decoder(levels) for decoder in self.auxiliary))


def build_hybrid_unet(parameters: Mapping[str, Any]) -> HybridUNet:
    """Build it with untrained weights: `in_channels` (5 windows), `classes` (4), `filters` (a level each)."""
    return HybridUNet(
        in_channels=int(parameters.get("in_channels", 5)),
        classes=int(parameters.get("classes", 4)),
        filters=tuple(int(width) for width in parameters.get("filters", FILTERS)),
    )


def _block(before: int, after: int, kernel: Kernel) -> nn.Module:
    return nn.Sequential(
        *(
            Convolution(3, channels, after, kernel_size=kernel, act="RELU", norm=_NORM[kernel])
            for channels in (before, after)
        )
    )
