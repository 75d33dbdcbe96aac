"""CNN-DS: a 3D network with deep supervision, for whole heads at once.

Paper: Arab et al., Scientific Reports 2020;10:19389: heads of 64 slices of 128 x 128, a 3D encoder and decoder whose
hidden layers answer too while it trains. MONAI's convolutions; the auxiliary answers go into the trainer's loss with
1/2 and 1/4 of the last one's weight. Deviations: filters, norm and weights are not stated in what could be had of the
paper, so the 5.65 million parameters at the defaults cannot be checked. Sides must be multiples of 16 with five levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.blocks.convolutions import Convolution
from torch import nn

from models.networks.composed_unet import ComposedUNet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FILTERS = (16, 32, 64, 128, 256)


def build_cnn_ds(parameters: Mapping[str, Any]) -> ComposedUNet:
    """Build it with untrained weights: `in_channels` (1), `classes` (2), `filters`, `supervised` (2)."""
    filters = tuple(int(width) for width in parameters.get("filters", FILTERS))
    return ComposedUNet(
        dims=3,
        in_channels=int(parameters.get("in_channels", 1)),
        classes=int(parameters.get("classes", 2)),
        filters=filters,
        block=_block,
        supervised=int(parameters.get("supervised", min(2, len(filters) - 2))),
    )


def _block(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        Convolution(3, before, after, norm="BATCH", act="RELU"), Convolution(3, after, after, norm="BATCH", act="RELU")
    )
