"""Dense U-Net: a 2D U-Net whose encoder is a DenseNet.

Paper: Xu et al., Frontiers in Neuroscience 2021;14:541817 (IPH, EDH, SDH). MONAI's DenseNet and the decoder of its
FlexibleUNet. Deviations: the encoder is DenseNet-121 as published by Huang 2017, their own arrangement of blocks is not
stated in what could be had of the paper; no ImageNet weights. 20.17 million parameters at the defaults (one window,
one slice, four classes); the encoder has the 6.95 million of DenseNet-121 without its classifier. Sides y and x must be
multiples of 32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from monai.networks.nets.densenet import DenseNet
from torch import Tensor, nn

from models.networks.neighbouring_slices import NeighbouringSlices
from models.networks.slice_decoder import slice_decoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

INIT, GROWTH, BLOCKS = 64, 32, (6, 12, 24, 16)
DECODER = (512, 256, 128, 64, 32)
_SKIPS = ("relu0", "denseblock1", "denseblock2", "denseblock3")


class DenseUNet(nn.Module):
    """(batch, channels, y, x) to (batch, classes, y, x) logits."""

    def __init__(
        self, *, in_channels: int, classes: int, init: int, growth: int, blocks: Sequence[int], decoder: Sequence[int]
    ) -> None:
        super().__init__()
        self.encoder = DenseNet(2, in_channels, 1, init, growth, tuple(blocks)).features
        widths, width = [init], init
        for count in blocks:
            widths.append(width + count * growth)
            width = widths[-1] // 2
        self.decoder = slice_decoder((in_channels, *widths), decoder)
        self.head = nn.Conv2d(decoder[-1], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        features = [x]
        for name, layer in self.encoder.named_children():
            x = layer(x)
            if name in _SKIPS:
                features.append(x)
        features.append(torch.relu(x))
        logits: Tensor = self.head(self.decoder(features))
        return logits


def build_dense_unet(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels` (1), `classes` (4), `init`, `growth`, `blocks`, `decoder` (five), `beside`."""
    beside = int(parameters.get("beside", 0))
    network = DenseUNet(
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        classes=int(parameters.get("classes", 4)),
        init=int(parameters.get("init", INIT)),
        growth=int(parameters.get("growth", GROWTH)),
        blocks=tuple(int(count) for count in parameters.get("blocks", BLOCKS)),
        decoder=tuple(int(width) for width in parameters.get("decoder", DECODER)),
    )
    return NeighbouringSlices(network, beside=beside)
