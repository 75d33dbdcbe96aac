"""Maps of a classifier against a second way to work them out, token by token."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from models.networks.attention_maps import look, scaled
from models.networks.swin_classifier import NAME, SwinClassifier, build_classifier
from tests.models.networks.test_swin_classifier import SMALL

WINDOW, SIDE = 4, 32


@pytest.fixture(scope="module")
def classifier() -> SwinClassifier:
    """A classifier whose attention is far from even, so that maps have something to show."""
    torch.manual_seed(3)
    network = build_classifier(NAME, SMALL | {"depths": [4, 2]}).eval()
    for weight in network.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    return network


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """Three slices."""
    return torch.randn(3, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(4))


def by_token(
    attention: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], shift: int
) -> npt.NDArray[np.float64]:
    """Lay (windows, heads, query, key) of one slice out token by token, heads weighed, (tokens, tokens)."""
    side = round((attention.shape[0] * WINDOW**2) ** 0.5)
    laid = np.zeros((side, side))
    for y in range(side):
        for x in range(side):
            # the blocks see the tokens moved up and left, those that fall off come in again on the other side
            at_y, at_x = (y - shift) % side, (x - shift) % side
            window = (at_y // WINDOW) * (side // WINDOW) + at_x // WINDOW
            key = (at_y % WINDOW) * WINDOW + at_x % WINDOW
            heads = [attention[window, head, :, key].mean() * weight[window, head] for head in range(len(weight[0]))]
            laid[y, x] = np.mean(heads)
    return laid


def enlarged(laid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low = torch.from_numpy(laid)[None, None]
    return functional.interpolate(low, size=(SIDE, SIDE), mode="bilinear")[0, 0].numpy()


@pytest.mark.parametrize("kind", ["hgi-sam", "swin-sam"])
def test_attention_is_laid_out_token_by_token(classifier: SwinClassifier, image: torch.Tensor, kind: str) -> None:
    """Heads weighed by their gradient's norm or not, shifts undone, pairs multiplied, stages multiplied."""
    slices = image[:1].clone().requires_grad_()
    kept: list[torch.Tensor] = []
    layers = [layer for stage in classifier.attention() for layer in stage]
    hooks = [layer.register_forward_hook(lambda _layer, _given, answer: kept.append(answer)) for layer in layers]
    score = classifier(slices)[0, 0]
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(score, kept)
    wanted, at = np.ones((SIDE, SIDE)), 0
    for depth in (4, 2):
        pairs = []
        for _ in range(depth // 2):
            maps = []
            for shift in (0, WINDOW // 2):
                attention, gradient = (one[at].detach().double().numpy() for one in (kept, gradients))
                weight = np.sqrt((gradient**2).sum(axis=(2, 3))) if kind == "hgi-sam" else np.ones(gradient.shape[:2])
                maps.append(by_token(attention, weight, shift))
                at += 1
            pairs.append(maps[0] * maps[1])
        stage = np.mean(pairs, axis=0)
        wanted *= enlarged((stage - stage.min()) / (stage.max() - stage.min()))
    said = look(classifier, image, [kind]).maps[kind]  # type: ignore[list-item, index]
    assert tuple(said.shape) == (3, SIDE, SIDE)
    np.testing.assert_allclose(said[0].numpy(), wanted, atol=1e-4)


def test_gradcam_weighs_channels(classifier: SwinClassifier, image: torch.Tensor) -> None:
    """Features of the last block's first norm, weighed by their mean gradient, never below 0."""
    kept: list[torch.Tensor] = []
    hook = classifier.last_norm().register_forward_hook(lambda _layer, _given, answer: kept.append(answer))
    score = classifier(image[1:2].clone().requires_grad_())[0, 0]
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept)
    weighed = np.einsum("yxc,c->yx", kept[0][0].detach().numpy(), gradient[0].mean(dim=(0, 1)).numpy())
    said = look(classifier, image, ["gradcam"]).maps["gradcam"][1]
    np.testing.assert_allclose(said.numpy(), enlarged(np.maximum(weighed, 0).astype(np.float64)), atol=1e-4)


def test_slices_do_not_see_each_other(classifier: SwinClassifier, image: torch.Tensor) -> None:
    """A slice's maps are its own, whatever else is in the batch, and frozen weights draw the same ones."""
    alone = look(classifier, image[2:])
    classifier.requires_grad_(requires_grad=False)
    together = look(classifier, image)
    classifier.requires_grad_(requires_grad=True)
    for kind, maps in together.maps.items():
        torch.testing.assert_close(maps[2:], alone.maps[kind], atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(together.logits, classifier(image).detach())


def test_a_level_map_is_nothing() -> None:
    """Scaling runs from 0 to 1 for each slice; what is level everywhere becomes 0, not a division by nothing."""
    maps = torch.stack([torch.arange(4.0).reshape(2, 2), torch.full((2, 2), 7.0)])
    assert scaled(maps)[0].tolist() == [[0, pytest.approx(1 / 3)], [pytest.approx(2 / 3), 1]]
    assert scaled(maps)[1].tolist() == [[0, 0], [0, 0]]
