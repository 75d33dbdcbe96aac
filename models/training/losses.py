"""The losses that a recipe may name, over (n, classes, a, b, c) logits and (n, a, b, c) labels.

`dice`, `dice-ce` and `dice-focal` are MONAI's, background left out of the Dice part, which is of the whole batch.
`dice-ce-present` is for labels that fill less than a hundredth of most patches, `dice-ce-patch` lets a small bleed
count as much as a large one. `slice-dice`, `boundary` and the ranking part have files of their own. What a patch says
to be `IGNORED` teaches nothing, in any of them. A network that answers more than that (`models.networks.answer`) is
asked for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from monai.losses.dice import DiceCELoss, DiceFocalLoss, DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from models.engines.preparation import Preparation
from models.networks.answer import Answer
from models.training.boundary_loss import BoundaryLoss
from models.training.ranking_loss import RankingLoss
from models.training.sample import IGNORED
from models.training.slice_dice import SliceDice

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.training.recipe import Recipe

    Criterion = Callable[[Tensor, Tensor], Tensor]
    AnswerCriterion = Callable[[Tensor | Answer, Tensor], Tensor]

_OF_MONAI = {"dice": DiceLoss, "dice-ce": DiceCELoss, "dice-focal": DiceFocalLoss}
_SURE = 20.0  # logit of what need not be learnt
_FALSE_VOXELS = 100.0  # marked where no blood is: that much costs half of what any amount may
_LABEL_WEIGHT = 2.0  # of a labelled voxel in the cross-entropy; background has 1
_BACKGROUND_BIAS = 4.0  # logit: about 93 % background at the start, so that training need not learn that first


def loss_of(recipe: Recipe) -> AnswerCriterion:
    """Return the recipe's loss.

    Deeply supervised answers, (n, levels, classes, ...) or an Answer's auxiliary ones, weigh 1, 1/2, 1/4, ...; an
    Answer's presence adds its cross-entropy.
    """
    how = recipe.training
    blood = tuple(label.index for label in recipe.label_specs if label.haemorrhage)
    # labels are (n, a, b, c) in the network's axes: slices follow one another along one of them
    slices = 1 + Preparation.from_parameters({"orientation": recipe.model.orientation}, recipe.model.hu_range).axis(0)
    if how.loss in {"dice-ce-present", "dice-ce-patch"}:
        criterion: Criterion = _PresentDiceCe(
            blood=blood, each_patch=how.loss == "dice-ce-patch", empty_weight=how.empty_patch_weight
        )
    elif how.loss == "slice-dice":
        criterion = SliceDice(empty_weight=how.empty_slice_weight, slice_axis=slices)
    elif how.loss == "boundary":
        criterion = BoundaryLoss(slice_axis=slices)
    else:
        loss = _OF_MONAI[how.loss](include_background=False, to_onehot_y=True, softmax=True, batch=True)
        criterion = _OfMonai(loss=loss)
    if how.ranking_weight > 0:
        criterion = _Ranked(criterion=criterion, ranking=RankingLoss(blood=blood), weight=how.ranking_weight)
    return _Levels(criterion=_Known(criterion=criterion))


def expect_background(network: nn.Module, classes: int) -> None:
    """Set the biases of the last layers so that an untrained network says background nearly everywhere."""
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d):
            continue
        if layer.bias is not None and layer.out_channels == classes:
            bias = torch.zeros_like(layer.bias)
            bias[0] = _BACKGROUND_BIAS
            layer.bias.data.copy_(bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Levels:
    criterion: Criterion

    def __call__(self, answer: Tensor | Answer, labels: Tensor) -> Tensor:
        if isinstance(answer, Answer):
            levels: tuple[Tensor, ...] = (answer.logits, *answer.auxiliary)
        else:
            levels = (answer,) if answer.ndim == labels.ndim + 1 else answer.unbind(dim=1)
        weights = [0.5**level for level in range(len(levels))]
        losses = [weight * self.criterion(logits, labels) for logits, weight in zip(levels, weights, strict=True)]
        loss = torch.stack(losses).sum() / sum(weights)
        if isinstance(answer, Answer) and answer.presence is not None:
            loss = loss + _presence_loss(answer.presence, labels)
        return loss


def _presence_loss(presence: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of which labels each part holds; (n, parts, classes - 1), the parts along the first axis.

    A part that holds something ignored, and a label nowhere else, says nothing about that label.
    """
    parts = labels.reshape(*presence.shape[:2], -1)
    held = torch.stack([(parts == label).any(dim=2) for label in range(1, presence.shape[2] + 1)], dim=2)
    known = (held | ~(parts == IGNORED).any(dim=2, keepdim=True)).to(presence.dtype)
    loss = functional.binary_cross_entropy_with_logits(presence, held.to(presence.dtype), known, reduction="sum")
    return loss / known.sum().clamp(min=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfMonai:
    loss: nn.Module

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cast("Tensor", self.loss(logits, labels[:, None]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranked:
    criterion: Criterion
    ranking: RankingLoss
    weight: float

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.criterion(logits, labels) + self.weight * self.ranking(logits, labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is ignored counts as background that was answered surely: it adds no loss and has no gradient."""

    criterion: Criterion

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        ignored = labels == IGNORED
        if not bool(ignored.any()):
            return self.criterion(logits, labels)
        sure = torch.full((1, logits.shape[1], 1, 1, 1), -_SURE, device=logits.device, dtype=logits.dtype)
        sure[:, 0] = _SURE
        return self.criterion(torch.where(ignored[:, None], sure, logits), labels.masked_fill(ignored, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _PresentDiceCe:
    """Cross-entropy plus Dice loss.

    The Dice loss is the mean over the labels that are truly there and over all haemorrhage together: a label that is
    absent has no overlap to gain, and would only drown the others. It is of the whole batch, where the large bleed of
    one patch outweighs the small one of another, or of each patch by itself, as heads are scored. What is marked in a
    patch without any blood costs `empty_weight` at most, however much it is: cross-entropy hardly minds a few voxels.
    """

    blood: tuple[int, ...]
    each_patch: bool
    empty_weight: float

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = torch.full((logits.shape[1],), _LABEL_WEIGHT, device=logits.device)
        weight[0] = 1.0
        loss = functional.cross_entropy(logits, labels, weight=weight)
        said = logits.softmax(dim=1)
        truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(said.dtype)
        blood = list(self.blood)
        said = torch.cat([said[:, 1:], said[:, blood].sum(dim=1, keepdim=True)], dim=1)
        truth = torch.cat([truth[:, 1:], truth[:, blood].sum(dim=1, keepdim=True)], dim=1)
        everywhere = (2, 3, 4) if self.each_patch else (0, 2, 3, 4)
        overlap, size = (said * truth).sum(everywhere), (said + truth).sum(everywhere)
        present = truth.sum(everywhere) > 0
        if bool(present.any()):
            loss = loss + (1 - 2 * overlap / (size + 1))[present].mean()
        if self.empty_weight > 0:
            marked, bloodless = said[:, -1].sum((1, 2, 3)), truth[:, -1].sum((1, 2, 3)) == 0
            if bool(bloodless.any()):
                loss = loss + self.empty_weight * (marked / (marked + _FALSE_VOXELS))[bloodless].mean()
        return loss
