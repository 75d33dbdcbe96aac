"""Losses against values worked out by hand and against MONAI; what is ignored teaches nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from monai.losses.dice import MaskedDiceLoss

from models.engines.sliding_window import SlidingWindowSegmenter
from models.networks.catalogue import build
from models.training.boundary_loss import BoundaryLoss
from models.training.curve import read_curve
from models.training.losses import loss_of
from models.training.patches import Patches
from models.training.ranking_loss import RankingLoss
from models.training.recipe import Loss, TrainingRecipe
from models.training.sample import IGNORED
from models.training.slice_dice import SliceDice
from models.training.spec import network_parameters, spec_of
from models.training.trainer import CURVE, train
from tests.models.training.small_heads import SPACING, head, heads, recipe_of


def logits_of(probability: torch.Tensor) -> torch.Tensor:
    """Two channels whose softmax gives the probability (n, a, b, c) to the second."""
    return torch.stack([torch.zeros_like(probability), torch.logit(probability, eps=1e-9)], dim=1)


@pytest.mark.parametrize("loss", get_args(Loss))
def test_what_is_ignored_has_no_gradient(loss: Loss) -> None:
    """In every loss, with ranking beside: no pull on ignored voxels, whatever is said there, and pull elsewhere."""
    labels = torch.zeros(2, 4, 8, 8, dtype=torch.long)
    labels[0, 1:3, 2:6, 2:6] = 1
    labels[:, :, :, 5:] = IGNORED
    torch.manual_seed(1)
    logits = torch.randn(2, 2, 4, 8, 8, requires_grad=True)
    criterion = loss_of(recipe_of(TrainingRecipe(loss=loss, ranking_weight=0.3)))
    criterion(logits, labels).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[..., 5:].any()
    assert logits.grad[..., :5].abs().sum() > 0
    changed = logits.detach().clone()
    changed[..., 5:] += 7
    assert torch.equal(criterion(logits.detach(), labels), criterion(changed, labels))
    nothing = torch.full_like(labels, IGNORED)
    assert float(criterion(logits.detach(), nothing)) < 1.1  # no number that is none where nothing is known


def test_a_small_bleed_counts_as_much_as_a_large_one_by_patch() -> None:
    """The Dice part of `dice-ce-patch` is the mean over patches of that of `dice-ce-present`; the rest is the same."""
    torch.manual_seed(4)
    labels = torch.zeros(3, 4, 8, 8, dtype=torch.long)
    labels[0, :, 1:7, 1:7], labels[1, 1, 2, 2:5] = 1, 1  # the third holds nothing
    logits = torch.randn(3, 2, 4, 8, 8)
    logits[0, 1] += 8 * (labels[0] == 1) - 4  # the large bleed is found, the small one is not
    present, patch = (loss_of(recipe_of(TrainingRecipe(loss=one))) for one in ("dice-ce-present", "dice-ce-patch"))

    def entropy(which: slice) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits[which], labels[which], weight=torch.tensor([1.0, 2.0]))

    alone = [present(logits[one], labels[one]) - entropy(one) for one in (slice(0, 1), slice(1, 2))]
    assert float(patch(logits, labels) - entropy(slice(None))) == pytest.approx(float(sum(alone) / 2), abs=1e-6)
    assert float(present(logits, labels)) < float(patch(logits, labels))


def test_masked_dice_is_that_of_monai() -> None:
    """Dice where a part is ignored equals MONAI's MaskedDiceLoss over the rest."""
    torch.manual_seed(2)
    logits, mask = torch.randn(2, 2, 4, 8, 8), torch.rand(2, 1, 4, 8, 8) < 0.6
    labels = (torch.rand(2, 4, 8, 8) < 0.3).long()
    expected = MaskedDiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)(
        logits, labels[:, None], mask.float()
    )
    found = loss_of(recipe_of(TrainingRecipe(loss="dice")))(logits, labels.masked_fill(~mask[:, 0], IGNORED))
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


def test_slice_dice_by_hand() -> None:
    """One slice with four voxels of blood, half of each said, and an empty slice with one voxel half said, at 0.2."""
    labels, said = torch.zeros(1, 2, 3, 3, dtype=torch.long), torch.full((1, 2, 3, 3), 0.0)
    labels[0, 0, :2, :2] = 1
    said[0, 0, :2, :2] = 0.5
    said[0, 1, 0, 0] = 0.5
    with_blood, empty = 1 - (2 * 2 + 1) / (4 * 0.25 + 4 + 1), 1 - 1 / (0.25 + 1)
    found = SliceDice(empty_weight=0.2, slice_axis=1)(logits_of(said), labels)
    assert float(found) == pytest.approx((with_blood + 0.2 * empty) / 1.2, abs=1e-6)
    turned = SliceDice(empty_weight=0.2, slice_axis=3)(
        logits_of(said).permute(0, 1, 3, 4, 2), labels.permute(0, 2, 3, 1)
    )
    assert float(turned) == pytest.approx(float(found), abs=1e-6)


def test_ranking_by_hand() -> None:
    """Two blood voxels against three of the background, all pairs; well ranked ones cost nothing."""
    labels = torch.tensor([[[[1, 1, 0, 0, 0]]]])
    odds = torch.tensor([[[[2.0, 0.5, 1.2, 0.0, -3.0]]]])
    logits = torch.stack([torch.zeros_like(odds), odds], dim=1)
    expected = np.mean([max(0, 1 - (p - n)) for p in (2.0, 0.5) for n in (1.2, 0.0, -3.0)])
    assert float(RankingLoss(blood=(1,))(logits, labels)) == pytest.approx(expected, abs=1e-6)
    ranked = logits + 10 * torch.stack([torch.zeros_like(odds), labels.float()], dim=1)
    assert float(RankingLoss(blood=(1,))(ranked, labels)) == 0
    assert float(RankingLoss(blood=(1,))(logits, labels * 0)) == 0


def test_only_the_hardest_background_is_ranked() -> None:
    """Of much background the highest voxels count: easy ones do not dilute them."""
    odds = torch.full((1, 1, 1, 2000), -50.0)
    odds[..., 0], odds[..., 1:257] = 0.0, 0.5
    labels = torch.zeros(1, 1, 1, 2000, dtype=torch.long)
    labels[..., 0] = 1
    logits = torch.stack([torch.zeros_like(odds), odds], dim=1)
    assert float(RankingLoss(blood=(1,))(logits, labels)) == pytest.approx(1.5)


def test_boundary_by_hand() -> None:
    """A square of 5 x 5 has 16 voxels on its border: a = 2 (1 - 16/25) - 1; a bar is all border and a = -1."""
    labels, said = torch.zeros(1, 1, 9, 9, dtype=torch.long), torch.full((1, 1, 9, 9), 1e-9)
    labels[0, 0, 2:7, 2:7] = 1
    said[0, 0, 2:7, 2:7] = 0.5
    asks = 2 * (1 - 16 / 25) - 1
    size, overlap = 25 * 0.25 + 25, 12.5
    cross = (25 * 2 * np.log(2)) / (25 * 2 + 56)
    found = BoundaryLoss(slice_axis=1)(logits_of(said), labels)
    assert float(found) == pytest.approx(
        0.5 * cross + 0.5 * (size - 2 * overlap) / (size - (1 + asks) * overlap), abs=1e-5
    )
    bar = torch.zeros_like(labels)
    bar[0, 0, 4, 1:8] = 1
    said = torch.where(bar > 0, 0.5, 1e-9)
    size, overlap = 7 * 0.25 + 7, 3.5
    cross = (7 * 2 * np.log(2)) / (7 * 2 + 74)
    assert float(BoundaryLoss(slice_axis=1)(logits_of(said), bar)) == pytest.approx(
        0.5 * cross + 0.5 * (size - 2 * overlap) / size, abs=1e-5
    )


@pytest.mark.parametrize("loss", ["dice", "slice-dice", "boundary"])
def test_a_network_learns_by_it(loss: Loss, tmp_path: Path) -> None:
    """Trained for a moment by each of them, with ranking beside, the network marks blood."""
    how = TrainingRecipe(
        steps=160, learning_rate=0.02, loss=loss, ranking_weight=0.2, validate_every=160, precision="float32", threads=1
    )
    trained = train(recipe_of(how), 1, heads(), tmp_path)
    losses = [point["loss"] for point in read_curve(tmp_path / CURVE)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert trained.score is not None
    assert trained.score.dice > 0.6


def test_a_masked_loss_is_masked_in_service() -> None:
    """Voxels outside `loss_hu` are ignored in patches; the served model answers background there, and only there."""
    recipe = recipe_of(TrainingRecipe(loss="dice", loss_hu=(0.0, 130.0)))
    sample = head(3)
    plain = replace(recipe.augmentation, mirror=0, contrast=0, brightness_hu=0, noise_hu=0)
    image, labels = Patches.of(replace(recipe, augmentation=plain)).draw([sample], np.random.default_rng(1))
    hu = (image[:, 0].numpy() + 1) * 70 - 20
    assert ((labels == IGNORED).numpy() == ((hu < 0) | (hu >= 119.9))).mean() > 0.99
    spec = spec_of(recipe)
    assert spec.parameters["answer_hu"] == [0.0, 130.0]
    network = build(recipe.model.network, network_parameters(recipe)).eval()
    network.head.bias.data.copy_(torch.tensor([-50.0, 50.0]))  # type: ignore[union-attr,operator]
    segmenter = SlidingWindowSegmenter(spec, [network], members=(1,), precision="float32", device=torch.device("cpu"))
    said = segmenter.segment(sample.grid(SPACING))
    blood = said.probabilities_czyx.argmax(axis=0) == 1
    answered = (sample.hu_zyx >= 0) & (sample.hu_zyx <= 130)
    assert blood[~answered].sum() == 0
    assert blood[answered].sum() > 1000
    assert np.array_equal(said.member_labels_mzyx[0] == 1, blood)


def test_what_is_marked_where_no_blood_is_costs_by_its_voxels() -> None:
    """With `empty_patch_weight` a patch without blood adds weight x / (x + 100) for x marked voxels, others nothing."""
    labels = torch.zeros(2, 4, 8, 8, dtype=torch.long)
    labels[0, 1:3, 2:6, 2:6] = 1
    marked = torch.full((2, 4, 8, 8), 1e-9)
    marked[:, :2, :5, :5] = 1 - 1e-6  # 50 voxels
    plain, weighed = (
        loss_of(recipe_of(TrainingRecipe(loss="dice-ce-patch", empty_patch_weight=weight))) for weight in (0.0, 0.3)
    )
    extra = weighed(logits_of(marked), labels) - plain(logits_of(marked), labels)
    assert float(extra) == pytest.approx(0.3 * 50 / 150, abs=1e-4)
    labels[1, 3, 7, 7] = 1
    assert torch.equal(weighed(logits_of(marked), labels), plain(logits_of(marked), labels))
