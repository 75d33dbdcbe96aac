"""A 3D U-Net with squeeze-and-excitation after every encoder level, for a scan beside its mirror image.

Paper: Abramova et al., Computerized Medical Imaging and Graphics 2021, 101908. Single 3x3x3 convolutions, ReLU, max
pooling with dropout, transposed convolutions, four levels; blocks are MONAI's. The mirror image comes with
`mirror_image = true` in the recipe, registered by the plane that halves the head (theirs by FLIRT); without it the
network sees the scan alone. Deviation: filters are not stated and are 32 to 256 here, so the parameter count cannot be
checked against the paper. Sides must be multiples of 8.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILTERS = (32, 64, 128, 256)
_REDUCTION = 4


class SeUnet3d(nn.Module):
    """(batch, channels, i, j, k) to (batch, classes, i, j, k) logits."""

    def __init__(self, *, in_channels: int, classes: int, filters: Sequence[int], dropout: float) -> None:
        super().__init__()
        inputs = (in_channels, *filters[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(before, after), ChannelSELayer(3, after, r=_REDUCTION))
            for before, after in zip(inputs, filters, strict=True)
        )
        self.pool = nn.Sequential(nn.MaxPool3d(2), nn.Dropout3d(dropout))
        deep_first = tuple(reversed(filters))
        steps = tuple(pairwise(deep_first))
        self.up = nn.ModuleList(nn.ConvTranspose3d(deep, shallow, 2, stride=2) for deep, shallow in steps)
        self.join = nn.ModuleList(_convolution(2 * shallow, shallow) for _, shallow in steps)
        self.head = nn.Conv3d(filters[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


def build_se_unet3d(parameters: Mapping[str, Any]) -> SeUnet3d:
    """Build it with untrained weights: `in_channels` (2: scan and mirror), `classes` (2), `filters`, `dropout`."""
    return SeUnet3d(
        in_channels=int(parameters.get("in_channels", 2)),
        classes=int(parameters.get("classes", 2)),
        filters=tuple(parameters.get("filters", FILTERS)),
        dropout=float(parameters.get("dropout", 0.1)),
    )


def _convolution(before: int, after: int) -> Convolution:
    return Convolution(3, before, after, kernel_size=3, act="RELU", norm=None, adn_ordering="A")
