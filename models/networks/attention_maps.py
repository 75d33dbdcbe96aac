"""Maps of where a Swin classifier saw blood: by its attention, by attention with gradients, and by GradCAM.

- `hgi-sam` (Rasoulian 2023): in every window the attention of each head is weighed by the Frobenius norm of the
  gradient of the score on it, and averaged over heads and queries: how much each token is looked at. Maps of a block
  and the next, shifted one are multiplied, pairs of a stage averaged, scaled to 0 to 1, enlarged, and the first three
  stages multiplied.
- `swin-sam` (Rasoulian 2022): the same without gradients, over all stages.
- `gradcam` (Selvaraju 2017): the first norm of the last block, channels weighed by their mean gradient.

The score is the logit of any haemorrhage, whatever other outputs there are. Deviations from the authors' published
code: its hook takes the gradient before the softmax, here it is on the attention, as the paper defines it; it turns
the last stage's second map back by a shift that a stage of one window never made.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from models.networks.swin_classifier import SwinClassifier

MapKind = Literal["hgi-sam", "swin-sam", "gradcam"]
MAP_KINDS: tuple[MapKind, ...] = get_args(MapKind)
HGI_STAGES = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """What a classifier said of slices, and where it looked; maps are 0 or more, not yet scaled or masked."""

    logits: Tensor  # (n, outputs)
    maps: Mapping[MapKind, Tensor]  # (n, side, side)


def look(classifier: SwinClassifier, image: Tensor, kinds: Sequence[MapKind] = MAP_KINDS) -> Looked:
    """Classify slices, (n, windows, side, side), and draw maps; autograd must not be switched off for inference."""
    layers = [layer for stage in classifier.attention() for layer in stage]
    needs_gradient = any(kind != "swin-sam" for kind in kinds)
    seen = [*layers, classifier.last_norm()]
    with torch.set_grad_enabled(needs_gradient), _outputs(seen) as answers:
        # the weights may be frozen: gradients need somewhere to begin
        logits = classifier(image.detach().requires_grad_(needs_gradient))
    kept = [answers[layer] for layer in seen]
    gradients: Sequence[Tensor] = torch.autograd.grad(logits[:, 0].sum(), kept) if needs_gradient else []
    attention = [one.detach() for one in kept]
    maps: dict[MapKind, Tensor] = {}
    for kind in kinds:
        if kind == "gradcam":
            low = _gradcam(attention[-1], gradients[-1])
            maps[kind] = _enlarged(low, classifier.side)
        else:
            weights = gradients[:-1] if kind == "hgi-sam" else [None] * len(layers)
            maps[kind] = _attention_map(classifier, attention[:-1], weights, kind)
    return Looked(logits=logits.detach(), maps=maps)


@contextmanager
def _outputs(layers: Sequence[nn.Module]) -> Iterator[Mapping[nn.Module, Tensor]]:
    """Keep what each of these layers answers."""
    kept: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _given: object, answer: Tensor) -> None:
        kept[layer] = answer

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _attention_map(
    classifier: SwinClassifier, attention: Sequence[Tensor], gradients: Sequence[Tensor | None], kind: MapKind
) -> Tensor:
    total = torch.ones(())
    at = 0
    for stage, blocks in enumerate(classifier.attention()):
        looked = [
            _looked_at(classifier, stage, block, attention[at + block], gradients[at + block])
            for block in range(len(blocks))
        ]
        at += len(blocks)
        if kind == "hgi-sam" and stage >= HGI_STAGES:
            break
        pairs = [first * second for first, second in zip(looked[::2], looked[1::2], strict=True)]
        total = _enlarged(scaled(torch.stack(pairs).mean(dim=0)), classifier.side) * total
    return total


def _looked_at(
    classifier: SwinClassifier, stage: int, block: int, attention: Tensor, gradient: Tensor | None
) -> Tensor:
    """Return (n, tokens, tokens): how much each token is looked at by its window, over all heads."""
    if gradient is not None:
        attention = attention * torch.linalg.matrix_norm(gradient)[:, :, None, None]
    by_key = attention.mean(dim=1).mean(dim=1)
    tokens, window = classifier.tokens[stage], classifier.window
    across = tokens // window
    laid = by_key.reshape(-1, across, across, window, window).permute(0, 1, 3, 2, 4).reshape(-1, tokens, tokens)
    shift = classifier.shift(stage, block)
    return laid.roll((shift, shift), dims=(1, 2))


def _gradcam(features: Tensor, gradient: Tensor) -> Tensor:
    """Return (n, tokens, tokens) of features (n, tokens, tokens, channels)."""
    return (features * gradient.mean(dim=(1, 2), keepdim=True)).sum(dim=-1).relu()


def scaled(maps: Tensor) -> Tensor:
    """Scale each slice's map, (n, a, b), to 0 to 1; one that is level everywhere becomes 0."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def _enlarged(maps: Tensor, side: int) -> Tensor:
    return functional.interpolate(maps[:, None], size=(side, side), mode="bilinear", align_corners=False)[:, 0]
