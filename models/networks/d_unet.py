"""D-UNet: a 2D U-Net with batch normalisation before every ReLU and dropout in every block.

Paper: Guerrón (PhysioNet CT-ICH), of which the surveys say no more. MONAI's BasicUNet. Deviations: filters and dropout
are not stated, so the 7.78 million parameters at the defaults cannot be checked. Sides y and x must be multiples of 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets.basic_unet import BasicUNet

from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FEATURES = (32, 64, 128, 256, 512, 32)


def build_d_unet(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels` (1), `classes` (2), `features` (six), `dropout` (0.2), `beside` (0 slices)."""
    beside = int(parameters.get("beside", 0))
    network = BasicUNet(
        spatial_dims=2,
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        out_channels=int(parameters.get("classes", 2)),
        features=tuple(int(width) for width in parameters.get("features", FEATURES)),
        act=("relu", {"inplace": True}),
        norm=("batch", {"affine": True}),
        dropout=float(parameters.get("dropout", 0.2)),
    )
    return NeighbouringSlices(network, beside=beside)
