"""Whether a network is served with more around a voxel than it learnt with, and whether that matters to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.networks.catalogue import build
from models.training.extent import served_otherwise
from models.training.recipe import ModelRecipe

PATCH, WINDOW = (8, 32, 32), (8, 64, 64)


@pytest.mark.parametrize(
    ("name", "parameters", "matters"),
    [
        ("unet-3d", {"filters": [4, 6, 8, 8], "supervised": 1}, True),  # instance norm
        ("segresnet-2.5d", {"filters": 8, "beside": 1}, True),  # group norm
        ("se-unet-3d", {"filters": [8, 16, 16]}, True),  # squeeze-and-excitation
        ("phantom-unet", {"channels": [4, 6, 8]}, False),  # batch norm
    ],
)
def test_means_over_all_that_is_seen(name: str, parameters: dict[str, Any], *, matters: bool) -> None:
    """What lies far off changes the answer in the middle of a window for those that are named, and for no other."""
    model = ModelRecipe(network=name, network_parameters=parameters, spacing_zyx_mm=(5.0, 3.0, 3.0), patch=PATCH)
    torch.manual_seed(1)
    network = build(name, parameters | {"classes": 2, "in_channels": 1}).eval()
    seen = torch.rand(1, 1, 8, 160, 160)
    other = seen.clone()
    other[..., 140:, :] = 1000.0
    with torch.inference_mode():
        moved = (network(seen) - network(other))[..., 30:50, 30:50].abs().max()
    assert bool(moved > 1e-6) == matters
    assert served_otherwise(network, replace(model, window=WINDOW)) == matters
    assert not served_otherwise(network, model)
    assert not served_otherwise(network, replace(model, window=PATCH))
