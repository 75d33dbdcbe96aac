"""A 2D SegResNet that sees each slice between its neighbours, in several HU windows.

Paper: Siddiquee et al., arXiv 2209.07307 (nvauto, INSTANCE 2022), after Myronenko 2018. MONAI's SegResNet, group norm.
Deviations: their network is an ensemble found by Auto3DSeg; here it is one network with filters that the recipe names,
without the variational branch. 6.30 million parameters at the defaults (three windows, five slices, two classes). Sides
y and x must be multiples of 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monai.networks.nets.segresnet import SegResNet

from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping


def build_segresnet_25d(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels` (3 windows), `classes` (2), `filters` (32), `beside` (2 slices)."""
    beside = int(parameters.get("beside", 2))
    network = SegResNet(
        spatial_dims=2,
        init_filters=int(parameters.get("filters", 32)),
        in_channels=int(parameters.get("in_channels", 3)) * (2 * beside + 1),
        out_channels=int(parameters.get("classes", 2)),
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
    )
    return NeighbouringSlices(network, beside=beside)
