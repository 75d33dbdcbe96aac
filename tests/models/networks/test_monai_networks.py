"""MONAI's networks as a bundle names them: every one on the list can be built, and none of any size."""

from __future__ import annotations

from typing import Any

import pytest

from ichor.errors import ModelError
from models.networks.monai_networks import NETWORKS, build_monai

CHANNELS = {"in_channels": 1, "out_channels": 2}
WITHIN: dict[str, dict[str, Any]] = {
    "AttentionUnet": {**CHANNELS, "spatial_dims": 3, "channels": [4, 8], "strides": [2, 2]},
    "BasicUNet": {**CHANNELS, "spatial_dims": 3, "features": [4, 4, 4, 4, 4, 4]},
    "DynUNet": {
        **CHANNELS,
        "spatial_dims": 3,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 8],
    },
    "HighResNet": {**CHANNELS, "spatial_dims": 3},
    "SegResNet": {**CHANNELS, "spatial_dims": 3, "init_filters": 8},
    "SegResNetDS": {**CHANNELS, "spatial_dims": 3, "init_filters": 8},
    "SwinUNETR": {**CHANNELS, "feature_size": 12},
    "UNETR": {**CHANNELS, "img_size": [32, 32, 32], "feature_size": 8},
    "UNet": {**CHANNELS, "spatial_dims": 3, "channels": [4, 8], "strides": [2]},
    "VNet": {**CHANNELS, "spatial_dims": 3},
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_all_on_the_list_can_be_built(name: str) -> None:
    """The list promises nothing that the counting of weights, or a missing library, would refuse."""
    assert type(build_monai(name, WITHIN[name])).__name__ == name


def test_no_network_exhausts_the_memory() -> None:
    """Weights are counted before any memory is asked for."""
    with pytest.raises(ModelError, match="would have"):
        build_monai("SwinUNETR", {**CHANNELS, "feature_size": 12 * 1024})
