"""CSR-UNet: a 2D U-Net of convolution-SE-residual blocks with spatial attention, for subdural and epidural bleeds.

Paper: Nafees Ahmed et al., BMC Medical Imaging 2024;24:285. Each block convolves twice (batch norm, ReLU), weighs the
channels by squeeze and excitation and adds its input; skips pass through a spatial gate (mean and maximum over the
channels, 7x7 convolution, sigmoid). It classifies by what it marks: with the labels SDH and EDH every voxel is of one
kind or neither, and the kinds that a scan holds follow. MONAI's convolutions and squeeze and excitation. Deviations:
filters and reduction are not stated in what could be had of the paper, so the 8.34 million parameters at the defaults
cannot be checked; their two images of a slice are HU windows here. Sides y and x must be multiples of 16 with five
levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from torch import Tensor, nn

from models.networks.composed_unet import ComposedUNet
from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FILTERS = (32, 64, 128, 256, 512)
_REDUCTION = 4
_KERNEL = 7


class CsrBlock(nn.Module):
    """Two convolutions, channels weighed by what they hold, and the input added."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            Convolution(2, before, after, norm="BATCH", act="RELU"),
            Convolution(2, after, after, norm="BATCH", act="RELU"),
        )
        self.excitation = ChannelSELayer(2, after, r=_REDUCTION)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, after, y, x)."""
        weighed: Tensor = self.excitation(self.convolutions(x)) + self.shortcut(x)
        return weighed


class SpatialGate(nn.Module):
    """Weigh every place of a skip by the mean and the maximum of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2)

    def forward(self, skip: Tensor, _: Tensor) -> Tensor:
        """Return the weighed skip; what came up from below has no say."""
        seen = torch.cat([skip.mean(dim=1, keepdim=True), skip.amax(dim=1, keepdim=True)], dim=1)
        return skip * torch.sigmoid(self.convolution(seen))


def build_csr_unet(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it with untrained weights: `in_channels` (1), `classes` (3), `filters`, `beside` (0 slices)."""
    beside = int(parameters.get("beside", 0))
    network = ComposedUNet(
        dims=2,
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        classes=int(parameters.get("classes", 3)),
        filters=tuple(int(width) for width in parameters.get("filters", FILTERS)),
        block=CsrBlock,
        skip=lambda _: SpatialGate(),
    )
    return NeighbouringSlices(network, beside=beside)
