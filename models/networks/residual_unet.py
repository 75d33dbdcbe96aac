"""A 2D U-Net of pre-activation residual blocks: normalisation and ReLU before each convolution.

Paper: Hoang et al., Journal of Imaging 2024;10(4):77 (PhysioNet CT-ICH), after He 2016. MONAI's residual block, batch
norm. Deviations: their filters are not stated in what could be had of the paper, so the 8.90 million parameters at the
defaults cannot be checked; of their augmentation (flips, zoom, rotation) `ichor train` mirrors alone. Sides y and x
must be multiples of 16 with five levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.blocks.segresnet_block import ResBlock
from torch import nn

from models.networks.composed_unet import ComposedUNet
from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FILTERS = (32, 64, 128, 256, 512)


def build_residual_unet(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it with untrained weights: `in_channels` (1), `classes` (2), `filters`, `beside` (0 slices)."""
    beside = int(parameters.get("beside", 0))
    network = ComposedUNet(
        dims=2,
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        classes=int(parameters.get("classes", 2)),
        filters=tuple(int(width) for width in parameters.get("filters", FILTERS)),
        block=_block,
    )
    return NeighbouringSlices(network, beside=beside)


def _block(before: int, after: int) -> nn.Module:
    # the residual block keeps its channels, a convolution of one voxel changes them
    return nn.Sequential(nn.Conv2d(before, after, 1), ResBlock(2, after, norm="BATCH"))
