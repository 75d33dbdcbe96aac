"""A U-Net with a ResNet or EfficientNet encoder and scSE attention behind every decoder block, over slices.

Papers: Roy et al., arXiv 1808.08127 (scSE, the element-wise maximum of both branches); on haemorrhage the all-attention
U-Net (Chang 2022, ResNeSt) and the EfficientNet-B7 U-Net (Kothala). MONAI's FlexibleUNet and channel squeeze and
excitation. Deviations: a ResNet-34 encoder in the place of ResNeSt, which MONAI has not; no weights from ImageNet are
fetched. 23.76 million parameters at the defaults (three windows, three slices, two classes). Sides y and x must be
multiples of 32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from monai.networks.nets.flexible_unet import FlexibleUNet
from torch import Tensor, nn

from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping

DECODER = (256, 128, 64, 32, 16)
_REDUCTION = 2  # as in the scSE paper


class ScSE(nn.Module):
    """Weigh features by channel and by place, and keep the greater of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.by_channel = ChannelSELayer(2, channels, r=_REDUCTION)
        self.by_place = nn.Conv2d(channels, 1, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted features, (batch, channels, y, x)."""
        return torch.maximum(self.by_channel(x), x * torch.sigmoid(self.by_place(x)))


def build_scse_unet(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels` (3), `classes` (2), `backbone` (resnet34), `decoder` (five), `beside` (1)."""
    beside = int(parameters.get("beside", 1))
    decoder = tuple(int(width) for width in parameters.get("decoder", DECODER))
    network = FlexibleUNet(
        spatial_dims=2,
        in_channels=int(parameters.get("in_channels", 3)) * (2 * beside + 1),
        out_channels=int(parameters.get("classes", 2)),
        backbone=str(parameters.get("backbone", "resnet34")),
        pretrained=False,
        decoder_channels=decoder,
    )
    blocks: Any = network.decoder.blocks
    for block, channels in zip(blocks, decoder, strict=True):
        block.convs = nn.Sequential(block.convs, ScSE(channels))
    return NeighbouringSlices(network, beside=beside)
