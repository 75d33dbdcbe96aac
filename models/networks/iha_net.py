"""IHA-Net: a 2D U-Net of residual hybrid atrous convolutions with attention gates and supervision on the way.

System: Ma (thesis), for small early bleeds. Each block convolves with dilations 1, 2 and 5 in turn, which leaves no
holes in what it sees (hybrid dilated convolution, Wang 2018), and adds its input; skips pass through MONAI's attention
gates; the decoder's levels answer too while it trains. Deviations: the dilations, filters and gates are not stated in
what could be had of it, so the 12.13 million parameters at the defaults cannot be checked; its loss of several parts is
one of the recipe's. Sides y and x must be multiples of 16 with five levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.blocks.convolutions import Convolution
from monai.networks.nets.attentionunet import AttentionBlock
from torch import Tensor, nn

from models.networks.composed_unet import ComposedUNet
from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FILTERS = (32, 64, 128, 256, 512)
DILATIONS = (1, 2, 5)


class HybridAtrousBlock(nn.Module):
    """Dilated convolutions one after another, and the input added."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(
                Convolution(2, before if number == 0 else after, after, norm="BATCH", act="RELU", dilation=dilation)
                for number, dilation in enumerate(DILATIONS)
            )
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, after, y, x)."""
        added: Tensor = self.convolutions(x) + self.shortcut(x)
        return added


class AttentionGate(nn.Module):
    """MONAI's gate: what came up from below says which places of the skip count."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = AttentionBlock(2, f_int=max(1, channels // 2), f_g=channels, f_l=channels)

    def forward(self, skip: Tensor, risen: Tensor) -> Tensor:
        """Return the weighed skip."""
        weighed: Tensor = self.gate(g=risen, x=skip)
        return weighed


def build_iha_net(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels` (1), `classes` (2), `filters`, `supervised` (2), `beside` (0 slices)."""
    beside = int(parameters.get("beside", 0))
    filters = tuple(int(width) for width in parameters.get("filters", FILTERS))
    network = ComposedUNet(
        dims=2,
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        classes=int(parameters.get("classes", 2)),
        filters=filters,
        block=HybridAtrousBlock,
        skip=AttentionGate,
        supervised=int(parameters.get("supervised", min(2, len(filters) - 2))),
    )
    return NeighbouringSlices(network, beside=beside)
