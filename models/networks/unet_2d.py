"""A plain 2D U-Net over the slices of a volume.

Paper: Hssayeni et al., Data 2020;5:14 (PhysioNet CT-ICH), after Ronneberger 2015. MONAI's BasicUNet: instance norm and
leaky ReLU. Deviations: the paper's network has no normalisation and 160 x 160 crops joined by voting; its filters are
not stated, so the parameter count (7.78 million at the defaults) is MONAI's. Sides y and x must be multiples
of 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monai.networks.nets.basic_unet import BasicUNet

from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping

FEATURES = (32, 64, 128, 256, 512, 32)


def build_unet_2d(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it with untrained weights: `in_channels` (1), `classes` (2), `features` (six), `beside` (0 slices)."""
    beside = int(parameters.get("beside", 0))
    network = BasicUNet(
        spatial_dims=2,
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        out_channels=int(parameters.get("classes", 2)),
        features=tuple(parameters.get("features", FEATURES)),
    )
    return NeighbouringSlices(network, beside=beside)
