"""Networks of the literature: parameter counts as published, forward and backward on tiny inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ichor.errors import ModelError
from models.networks import dynunet_r, viola_unet
from models.networks.catalogue import build
from models.networks.viola_unet import DenseDilatedChannels, ViolaAttention

TINY = [4, 4, 8, 8, 8, 8, 8]
SHAPES: list[tuple[str, dict[str, Any], int, tuple[int, ...]]] = [
    ("dynunet-r", {"filters": TINY, "supervised": 2}, 3, (2, 3, 2, 32, 32, 8)),
    ("viola-unet", {"filters": TINY, "supervised": 2}, 3, (2, 3, 2, 32, 32, 8)),
    ("se-unet-3d", {"filters": [4, 8, 8, 8]}, 2, (2, 2, 32, 32, 8)),
    ("attention-unet", {"in_channels": 2, "channels": [4, 8, 8]}, 2, (2, 2, 32, 32, 8)),
    ("unet-3d", {"in_channels": 2, "filters": [4, 4, 8, 8]}, 2, (2, 3, 2, 32, 32, 8)),
]
SLICED: list[tuple[str, dict[str, Any]]] = [
    ("unet-2d", {"in_channels": 2, "features": [4, 4, 8, 8, 8, 4]}),
    ("segresnet-2.5d", {"in_channels": 2, "filters": 8}),
    ("scse-unet", {"in_channels": 2, "backbone": "resnet10", "decoder": [16, 16, 8, 8, 8]}),
]
# at the defaults; what the papers do not state is what stands in the file's docstring
COUNTED = {
    "attention-unet": 23.63,
    "scse-unet": 23.76,
    "segresnet-2.5d": 6.30,
    "swin-unetr": 62.19,
    "unet-2d": 7.78,
    "unet-3d": 31.16,
}


@pytest.mark.parametrize(
    ("name", "published"),
    [("dynunet-r", dynunet_r.PUBLISHED_PARAMETERS), ("viola-unet", viola_unet.PUBLISHED_PARAMETERS)],
)
def test_parameters_are_as_published(name: str, published: float) -> None:
    """As many as the paper counts, to the last digit that it gives."""
    with torch.device("meta"):
        network = build(name, {})
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round(count / 1e6, 2) == round(published / 1e6, 2)


@pytest.mark.parametrize(("name", "parameters", "channels", "shape"), SHAPES)
def test_forward_and_backward(name: str, parameters: dict[str, Any], channels: int, shape: tuple[int, ...]) -> None:
    """Training answers logits of the input's size, and every weight gets a gradient; evaluation answers one result."""
    torch.manual_seed(1)
    network = build(name, parameters)
    image = torch.randn(2, channels, 32, 32, 8)
    logits = network(image)
    assert tuple(logits.shape) == shape
    logits.square().mean().backward()
    without = [key for key, weight in network.named_parameters() if weight.grad is None]
    assert without == []
    with torch.no_grad():
        assert tuple(network.eval()(image).shape) == (2, 2, 32, 32, 8)


@pytest.mark.parametrize(("name", "parameters"), SLICED)
def test_slices_see_their_neighbours_alone(name: str, parameters: dict[str, Any]) -> None:
    """Networks over slices answer for the volume; a slice's answer hangs on its neighbours and on no other slice."""
    torch.manual_seed(1)
    network = build(name, parameters).train()
    image = torch.randn(2, 2, 7, 64, 64)
    logits = network(image)
    assert tuple(logits.shape) == (2, 2, 7, 64, 64)
    logits.square().mean().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []
    network.eval()
    with torch.no_grad():
        before = network(image)
        image[:, :, 6] += 1
        changed = (network(image) - before).abs().amax(dim=(0, 1, 3, 4)) > 1e-6
    beside = {"unet-2d": 0, "segresnet-2.5d": 2, "scse-unet": 1}[name]
    assert changed.tolist() == [z >= 6 - beside for z in range(7)]


def test_swin_forward_and_backward() -> None:
    """The Transformer answers with its input's size; its relative biases get gradients too."""
    torch.manual_seed(1)
    network = build("swin-unetr", {"features": 12, "depths": [1, 1, 1, 1], "heads": [1, 2, 4, 8]})
    logits = network(torch.randn(1, 1, 32, 64, 32))
    assert tuple(logits.shape) == (1, 2, 32, 64, 32)
    logits.square().mean().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(("name", "millions"), COUNTED.items())
def test_parameters_are_as_written(name: str, millions: float) -> None:
    """The counts in the docstrings and in docs/models.md are those of the code."""
    count = sum(parameter.numel() for parameter in build(name, {}).parameters())
    assert round(count / 1e6, 2) == millions


def test_windows_become_channels() -> None:
    """The engine's one channel over a range of HU becomes one for each window, scaled and clipped."""
    network = build("unet-2d", {"in_channels": 2, "hu_range": [-50, 200], "hu_windows": [[0, 100], [-50, 200]]})
    hu = torch.tensor([-50.0, 0.0, 25.0, 100.0, 200.0])
    channels = next(iter(network.children()))(((hu + 50) / 125 - 1).reshape(1, 1, 1, 1, 5))
    assert channels[0, 0, 0, 0].tolist() == pytest.approx([-1, -1, -0.5, 1, 1], abs=1e-5)
    assert channels[0, 1, 0, 0].tolist() == pytest.approx([-1, -0.6, -0.4, 0.2, 1], abs=1e-5)
    with pytest.raises(ModelError):
        build("unet-2d", {"in_channels": 2, "hu_range": [0, 80], "hu_windows": [[0, 100]]})


def test_attention_keeps_shape_and_sign() -> None:
    """Features are weighted, never turned: the weight is above 0.3 everywhere."""
    torch.manual_seed(1)
    x = torch.randn(1, 8, 6, 5, 4)
    weighted = ViolaAttention(8)(x)
    assert weighted.shape == x.shape
    assert bool((weighted / x > 0.3).all())
    assert DenseDilatedChannels(64)(torch.randn(2, 64, 7)).shape == (2, 64, 7)


def test_nonsense_is_refused() -> None:
    """A checkpoint that names wrong parameters is no crash."""
    for name, parameters in (("dynunet-r", {"classes": "two"}), ("se-unet-3d", {"filters": 3}), ("unet-9000", {})):
        with pytest.raises(ModelError):
            build(name, parameters)
