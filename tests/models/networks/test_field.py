"""Networks of the literature: parameter counts as published, forward and backward on tiny inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ichor.errors import ModelError
from models.networks import dynunet_r, hybrid_unet, viola_unet
from models.networks.answer import Answer
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
# parameters, and how many auxiliary answers and presences (slices, labels) come with the logits in training
ANSWERING: list[tuple[str, dict[str, Any], int, tuple[int, int] | None]] = [
    ("cascade-unet", {"features": [4, 4, 4, 4, 4, 4], "filters": [4, 8, 8]}, 1, None),
    ("cnn-ds", {"filters": [4, 4, 8, 8]}, 2, None),
    ("dual-fcn", {"filters": [4, 4, 4, 4, 4], "layers": [1, 1, 1, 1, 1]}, 0, (8, 2)),
    ("hybrid-unet", {"filters": [4, 8, 8]}, 2, None),
    ("iha-net", {"filters": [4, 4, 8, 8]}, 2, None),
    ("patchfcn", {"width": 4, "blocks": [1, 1, 1, 1]}, 0, (8, 2)),
]
MOBILE = [[1, 8, 1, 1], [2, 8, 1, 2], [2, 16, 1, 2], [2, 16, 1, 2], [2, 16, 1, 1], [2, 16, 1, 2]]
SLICED: list[tuple[str, dict[str, Any]]] = [
    ("unet-2d", {"in_channels": 2, "features": [4, 4, 8, 8, 8, 4]}),
    ("segresnet-2.5d", {"in_channels": 2, "filters": 8}),
    ("scse-unet", {"in_channels": 2, "backbone": "resnet10", "decoder": [16, 16, 8, 8, 8]}),
    ("csr-unet", {"in_channels": 2, "filters": [4, 8, 8], "classes": 2}),
    ("d-unet", {"in_channels": 2, "features": [4, 4, 8, 8, 8, 4]}),
    ("dense-unet", {"in_channels": 2, "init": 8, "growth": 4, "blocks": [1] * 4, "decoder": [8] * 5, "classes": 2}),
    ("mobile-unet", {"in_channels": 2, "stages": MOBILE, "last": 32, "hidden": 32, "depth": 1, "decoder": [8] * 5}),
    ("residual-unet", {"in_channels": 2, "filters": [4, 8, 8]}),
    ("siamese-unet", {"in_channels": 2, "filters": [4, 8, 8]}),
]
# at the defaults; what the papers do not state is what stands in the file's docstring
COUNTED = {
    "attention-unet": 23.63,
    "cascade-unet": 38.95,
    "cnn-ds": 5.65,
    "csr-unet": 8.34,
    "d-unet": 7.78,
    "dense-unet": 20.17,
    "dual-fcn": 58.91,
    "iha-net": 12.13,
    "mobile-unet": 6.96,
    "multiscale-cnn": 0.66,
    "patchfcn": 25.99,
    "residual-unet": 8.90,
    "scse-unet": 23.76,
    "segresnet-2.5d": 6.30,
    "siamese-unet": 8.55,
    "swin-unetr": 62.19,
    "unet-2d": 7.78,
    "unet-3d": 31.16,
}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("dynunet-r", dynunet_r.PUBLISHED_PARAMETERS),
        ("hybrid-unet", hybrid_unet.PUBLISHED_PARAMETERS),
        ("viola-unet", viola_unet.PUBLISHED_PARAMETERS),
    ],
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


def test_backbones_have_the_published_size() -> None:
    """DenseNet-121 (Huang 2017), MobileNetV2 (Sandler 2018) and DRN-D-38 (Yu 2017) without their classifiers."""
    dense: Any = build("dense-unet", {"in_channels": 3}).network
    mobile: Any = build("mobile-unet", {"in_channels": 3}).network
    drn: Any = build("patchfcn", {"beside": 1}).network
    assert _count(dense.encoder) == 7_978_856 - 1025 * 1000
    assert _count(drn.backbone) == 26_501_912 - 513 * 1000
    assert _count(mobile.stem) + _count(mobile.stages) + _count(mobile.last) == 3_504_872 - 1281 * 1000


@pytest.mark.parametrize(("name", "parameters", "auxiliary", "presence"), ANSWERING)
def test_training_answers_more(
    name: str, parameters: dict[str, Any], auxiliary: int, presence: tuple[int, int] | None
) -> None:
    """Training gets logits of full size from every stage, and what each slice holds; evaluation gets logits alone."""
    torch.manual_seed(1)
    network = build(name, {**parameters, "in_channels": 2, "classes": 3})
    image = torch.randn(2, 2, 8, 64, 32)
    answer = network(image)
    assert isinstance(answer, Answer)
    voxels = (answer.logits, *answer.auxiliary)
    assert [tuple(one.shape) for one in voxels] == [(2, 3, 8, 64, 32)] * (1 + auxiliary)
    assert (answer.presence is None) == (presence is None)
    parts = voxels if answer.presence is None else (*voxels, answer.presence)
    if answer.presence is not None and presence is not None:
        assert tuple(answer.presence.shape) == (2, *presence)
    torch.stack([part.square().mean() for part in parts]).sum().backward()  # type: ignore[no-untyped-call]
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []
    with torch.no_grad():
        assert tuple(network.eval()(image).shape) == (2, 3, 8, 64, 32)


def test_scales_see_far() -> None:
    """The multi-scale network takes any sides, and a voxel's answer hangs on what lies beyond its near branch."""
    torch.manual_seed(1)
    network = build("multiscale-cnn", {"filters": [4, 4], "joined": [4]})
    image = torch.randn(1, 1, 5, 19, 31)
    network(image).square().mean().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []
    network.eval()
    with torch.no_grad():
        before = network(image)
        image[..., 0] += 5
        changed = (network(image) - before).abs().amax(dim=(0, 1, 2, 3)) > 1e-6
    assert changed.nonzero().max() > 4  # two convolutions alone reach two voxels


def test_what_no_classifier_sees_is_not_marked() -> None:
    """In service the first stage of the dual FCN has the last word on which labels a slice holds."""
    torch.manual_seed(1)
    network = build("dual-fcn", {"filters": [4] * 5, "layers": [1] * 5, "classes": 3}).eval()
    dual: Any = network.network
    with torch.no_grad():
        for marker in dual.markers:
            for head in marker.heads:
                head.weight.mul_(0.01)
            marker.heads[0].bias.copy_(torch.tensor([0.0, 3.0, 2.0]))
        for classifier, holds in ((dual.classifiers[0], [9.0, -9.0]), (dual.classifiers[1], [8.0, -8.0])):
            classifier.head.weight.zero_()
            classifier.head.bias.copy_(torch.tensor(holds))
        image = torch.randn(1, 2, 2, 32, 32)
        assert network(image).argmax(dim=1).unique().tolist() == [1]
        for classifier in dual.classifiers:
            classifier.head.bias.neg_()
        assert network(image).argmax(dim=1).unique().tolist() == [2]
        for classifier in dual.classifiers:
            classifier.head.bias.copy_(torch.tensor([-1.0, -9.0]))  # one in four: a doubt leaves the FCN its word
        assert network(image).argmax(dim=1).unique().tolist() == [1]


def test_a_scan_equal_to_its_mirror_image_shows_no_difference() -> None:
    """The Siamese skips carry the difference of both halves: none here, and one where they differ."""
    torch.manual_seed(1)
    network = build("siamese-unet", {"filters": [4, 8, 8]}).eval()
    siamese: Any = network.network
    seen: list[torch.Tensor] = []
    siamese.join[-1].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][:, 4:8]))
    with torch.no_grad():
        scan = torch.randn(1, 1, 2, 16, 16)
        network(torch.cat([scan, scan], dim=1))
        network(torch.cat([scan, -scan], dim=1))
    assert float(seen[0].abs().max()) == 0
    assert float(seen[1].abs().max()) > 0
    with pytest.raises(ModelError, match="mirror_image = true"):
        build("siamese-unet", {"in_channels": 1})


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
    beside = {"segresnet-2.5d": 2, "scse-unet": 1}.get(name, 0)
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
    # SwinUNETR reads its drop rates from a tensor while it is made; the others need no memory for this
    with torch.device("cpu" if name == "swin-unetr" else "meta"):
        network = build(name, {})
    assert round(_count(network) / 1e6, 2) == millions


def test_windows_become_channels() -> None:
    """The engine's one channel over a range of HU becomes one for each window, scaled and clipped."""
    network = build("unet-2d", {"in_channels": 2, "hu_range": [-50, 200], "hu_windows": [[0, 100], [-50, 200]]})
    hu = torch.tensor([-50.0, 0.0, 25.0, 100.0, 200.0])
    channels = next(iter(network.children()))(((hu + 50) / 125 - 1).reshape(1, 1, 1, 1, 5))
    assert channels[0, 0, 0, 0].tolist() == pytest.approx([-1, -1, -0.5, 1, 1], abs=1e-5)
    assert channels[0, 1, 0, 0].tolist() == pytest.approx([-1, -0.6, -0.4, 0.2, 1], abs=1e-5)
    with pytest.raises(ModelError):
        build("unet-2d", {"in_channels": 2, "hu_range": [0, 80], "hu_windows": [[0, 100]]})


def test_windows_of_a_view_stand_together() -> None:
    """Beside a mirror image come the scan's windows first, then those of its mirror image."""
    network = build("unet-2d", {"in_channels": 4, "hu_range": [0, 100], "hu_windows": [[0, 50], [0, 100]]})
    views = torch.tensor([0.0, -1.0]).reshape(1, 2, 1, 1, 1)  # 50 HU, and 0 HU opposite
    channels = next(iter(network.children()))(views)
    assert channels.flatten().tolist() == pytest.approx([1, 0, -1, -1], abs=1e-5)


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


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
