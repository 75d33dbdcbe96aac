"""The Swin classifier: as many parameters as published, and something for every one of them to learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ichor.errors import ModelError
from models.networks.swin_classifier import NAME, PUBLISHED_PARAMETERS, build_classifier

SMALL: dict[str, Any] = {
    "side": 32,
    "patch": 2,
    "window": 4,
    "features": 8,
    "depths": [2, 2],
    "heads": [2, 4],
    "in_channels": 2,
    "outputs": 6,
}


@pytest.mark.parametrize(("outputs", "millions"), [(1000, PUBLISHED_PARAMETERS / 1e6), (2, 86.88)])
def test_parameters_are_as_published(outputs: int, millions: float) -> None:
    """Swin-B at 384 with ImageNet's outputs has its published count; with two it has what docs/models.md says."""
    with torch.device("meta"):
        network = build_classifier(NAME, {"outputs": outputs})
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == millions


def test_forward_and_backward() -> None:
    """It answers one logit for each output, and every weight gets a gradient."""
    torch.manual_seed(1)
    network = build_classifier(NAME, SMALL)
    logits = network(torch.randn(3, 2, 32, 32))
    assert tuple(logits.shape) == (3, 6)
    logits.square().mean().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []
    assert [[network.shift(stage, block) for block in range(2)] for stage in range(2)] == [[0, 2], [0, 2]]


@pytest.mark.parametrize(
    ("name", "change"),
    [("swin-9000", {}), (NAME, {"side": 33}), (NAME, {"window": 5}), (NAME, {"heads": [2]}), (NAME, {"depths": 3})],
)
def test_nonsense_is_refused(name: str, change: dict[str, Any]) -> None:
    """Another name, and sides that are not cut into whole windows, are no crash."""
    with pytest.raises(ModelError):
        build_classifier(name, SMALL | change)
