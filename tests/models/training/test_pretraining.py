"""Pre-trainings: each learns its task, leaves the network better off, and goes on where it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from ichor.errors import ModelError
from models.networks.catalogue import build
from models.training.checkpoint import CheckpointUnfit
from models.training.curve import read_curve
from models.training.pretraining.contrast import info_nce
from models.training.pretraining.features import Taps, of_patch, of_slices
from models.training.pretraining.material import Material, marks_of
from models.training.pretraining.restoration import exchanged
from models.training.pretraining.run import CURVE as PRETRAINING_CURVE
from models.training.recipe import ModelRecipe, Pretraining, PretrainingRecipe, Recipe, TrainingRecipe
from models.training.spec import network_parameters
from models.training.trainer import CURVE, PRETRAINING, Heads, train
from tests.models.networks.test_overfit import MODELS
from tests.models.training.small_heads import head, heads, recipe_of

HOW = TrainingRecipe(
    steps=4, batch=2, learning_rate=0.01, validate_every=4, checkpoint_every=3, precision="float32", threads=1
)


def recipe_with(kind: Pretraining, steps: int, **more: object) -> Recipe:
    before = PretrainingRecipe(kind=kind, steps=steps, learning_rate=0.01, **more)  # type: ignore[arg-type]
    return replace(recipe_of(HOW), pretraining=before)


def heads_with_material(count: int = 4) -> Heads:
    samples = [head(seed) for seed in range(count)]
    labels = recipe_of(HOW).label_specs
    material = Material(samples=samples, marks_zc=[marks_of(one, labels) for one in samples], digest="small")
    return replace(heads(), material=material)


@pytest.mark.parametrize("kind", get_args(Pretraining))
def test_it_learns_its_task(kind: Pretraining, tmp_path: Path) -> None:
    """Its loss falls, the training begins with its weights, and the answer still has the recipe's form."""
    patch = (8, 40, 40) if kind.endswith("classification") else None
    recipe = recipe_with(kind, 24, patch=patch)
    trained = train(recipe, 1, heads_with_material(), tmp_path)
    losses = [point["loss"] for point in read_curve(tmp_path / PRETRAINING / PRETRAINING_CURVE)]
    assert len(losses) == 24
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])
    scratch = train(replace(recipe, pretraining=None), 1, heads_with_material(), tmp_path / "scratch")
    assert trained.weights.keys() == scratch.weights.keys()
    first = next(iter(scratch.weights))
    assert not torch.allclose(trained.weights[first], scratch.weights[first], atol=1e-2)
    assert [one["step"] for one in read_curve(tmp_path / CURVE)] == [1, 2, 3, 4]


@pytest.mark.parametrize("stop_at", [5, 9])
def test_it_goes_on_where_it_stopped(stop_at: int, tmp_path: Path) -> None:
    """Stopped in the pre-training or after it, both take the same course as if left alone, to the bit."""
    recipe = recipe_with("local-contrastive", 7, batch=2)
    straight = train(recipe, 1, heads_with_material(), tmp_path / "straight")

    def stop(fraction: float) -> None:
        if fraction >= stop_at / 11:
            raise InterruptedError

    broken = tmp_path / "broken"
    with pytest.raises(InterruptedError):
        train(recipe, 1, heads_with_material(), broken, on_progress=stop)
    resumed = train(recipe, 1, heads_with_material(), broken)
    for curve in (Path(PRETRAINING) / PRETRAINING_CURVE, Path(CURVE)):
        assert read_curve(broken / curve) == read_curve(tmp_path / "straight" / curve)
    assert all(torch.equal(resumed.weights[name], value) for name, value in straight.weights.items())


def test_several_trainings_can_begin_with_one(tmp_path: Path) -> None:
    """One pre-training serves other steps and other masks; another kind, seed or other scans are refused there."""
    recipe = recipe_with("context-restoration", 3)
    shared = tmp_path / "shared"
    train(recipe, 1, heads_with_material(), tmp_path / "a", pretrained_in=shared)
    before = {path: path.stat().st_mtime_ns for path in shared.iterdir()}
    longer = replace(recipe, training=replace(HOW, steps=6))
    fewer = replace(heads_with_material(), training=[head(0)], digest="fewer")
    train(longer, 1, fewer, tmp_path / "b", pretrained_in=shared)
    assert [one["step"] for one in read_curve(shared / PRETRAINING_CURVE)] == [1, 2, 3]
    assert {path: path.stat().st_mtime_ns for path in shared.iterdir()} == before
    other = replace(heads_with_material(), material=replace(heads_with_material().material, digest="others"))  # type: ignore[type-var]
    for changed, seed, seen in (
        (recipe_with("global-contrastive", 3), 1, heads_with_material()),
        (recipe, 2, heads_with_material()),
        (recipe, 1, other),
    ):
        with pytest.raises(CheckpointUnfit):
            train(changed, seed, seen, tmp_path / "c", pretrained_in=shared)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.network)
def test_every_network_has_levels_to_hold_on_to(model: ModelRecipe) -> None:
    """Of every network: the coarsest level, one vector for a patch and for a slice, and what the last layer sees."""
    recipe = recipe_of(HOW, model)
    torch.manual_seed(1)
    network = build(model.network, network_parameters(recipe))
    views = 2 if model.mirror_image else 1
    taps = Taps.on(network, classes=2, sides=model.patch, views=views)
    with torch.no_grad():
        deep, fine = taps.hear(torch.randn(2, views, *model.patch))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert fine.shape[1] == taps.last_channels > 2
    if deep is None:
        assert model.network in {"siamese-unet", "dual-fcn"}  # two looks in one batch; two networks side by side
        with pytest.raises(ModelError, match="context-restoration alone"):
            taps.hear_both(torch.randn(2, views, *model.patch))
        return
    assert deep.shape[1] == taps.deepest_channels
    assert deep.shape[2:].numel() <= fine.shape[2:].numel()
    assert of_patch(deep, 2).shape == (2, taps.deepest_channels)
    axis = 3 if model.orientation == "RAS" else 1
    assert of_slices(deep, 2, model.patch[axis - 1], axis).shape == (2, model.patch[axis - 1], taps.deepest_channels)


def test_a_patch_that_does_not_fit_is_said(tmp_path: Path) -> None:
    """Sides that the network cannot take are named before the first step."""
    recipe = recipe_with("context-restoration", 2, patch=(4, 15, 15))
    with pytest.raises(ModelError, match="4 x 15 x 15"):
        train(recipe, 1, heads_with_material(), tmp_path)


def test_contrast_by_hand() -> None:
    """Two pairs: each vector against its partner and two strangers, at temperature 0.1."""
    one, other = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    h = 1 / np.sqrt(2)
    alike = np.array([[0, 0, 1, h], [0, 0, 0, h], [1, 0, 0, h], [h, h, h, 0]]) / 0.1
    partners = [2, 3, 0, 1]
    expected = np.mean(
        [
            np.log(sum(np.exp(alike[row, column]) for column in range(4) if column != row)) - alike[row, partner]
            for row, partner in enumerate(partners)
        ]
    )
    assert float(info_nce(one, other)) == pytest.approx(expected, abs=1e-5)


def test_exchanged_places_keep_their_values() -> None:
    """Values stay but where exchanges overlap, all slices change alike, and the patch is not the same."""
    hu = np.arange(2 * 64 * 64, dtype=np.float32).reshape(2, 64, 64)
    out = exchanged(hu, np.random.default_rng(3))
    assert not np.array_equal(out, hu)
    assert np.array_equal(out[1] - out[0], np.full((64, 64), 64 * 64, dtype=np.float32))
    assert np.isin(out, hu).all()
    assert len(np.unique(out)) > 0.9 * hu.size


def test_slices_are_marked_from_masks() -> None:
    """Any haemorrhage first, then each label; oedema is none."""
    recipe = recipe_of(HOW, labels=("IPH", "oedema", "IVH"))
    sample = head(5, labels=3)
    marks = marks_of(sample, recipe.label_specs)
    assert marks.shape == (20, 3)
    for z in range(20):
        found = set(np.unique(sample.labels_zyx[z]))
        assert marks[z].tolist() == [bool(found & {1, 3}), 1 in found, 3 in found]
