"""The training loop: it learns, stops, goes on where it was stopped, and refuses what is another's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from ichor.errors import ModelError
from models.engines import hardware
from models.engines.sliding_window import SlidingWindowSegmenter
from models.networks.answer import Answer
from models.networks.catalogue import build
from models.training.checkpoint import CheckpointUnfit, load_checkpoint
from models.training.curve import read_curve
from models.training.losses import expect_background, loss_of
from models.training.patches import Patches, chance
from models.training.recipe import ModelRecipe, TrainingRecipe
from models.training.schedule import learning_rate_at
from models.training.spec import network_parameters, spec_of
from models.training.trainer import CHECKPOINT, CURVE, TrainingFailed, train
from tests.models.training.small_heads import SPACING, head, heads, recipe_of
from tests.models.training.spoiled_bfloat16 import SpoiledBfloat16

HOW = TrainingRecipe(
    steps=12, batch=2, learning_rate=0.02, validate_every=4, checkpoint_every=3, precision="float32", threads=1
)


class StoppedError(Exception):
    """Somebody pulled the plug."""


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Stopped between two checkpoints, it takes the same course: equal losses, validations and weights, to the bit."""
    recipe = recipe_of(HOW)
    straight = train(recipe, 1, heads(), tmp_path / "straight")

    def stop(fraction: float) -> None:
        if fraction >= 8 / 12:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(recipe, 1, heads(), tmp_path / "broken", on_progress=stop)
    curve = tmp_path / "broken" / CURVE
    assert len(read_curve(curve)) == 8
    with curve.open("a") as more:  # what a kill leaves: steps that no checkpoint knows, and half a line
        more.write(json.dumps({"step": 9, "loss": 99.0, "learning_rate": 0.1}) + '\n{"step": 10, "lo')
    resumed = train(recipe, 1, heads(), tmp_path / "broken")
    assert read_curve(curve) == read_curve(tmp_path / "straight" / CURVE)
    assert resumed.score == straight.score
    assert resumed.step == straight.step
    assert all(torch.equal(resumed.weights[name], value) for name, value in straight.weights.items())


def test_a_processor_trains_in_float32_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that computes bfloat16: the backward pass of torch's 3D convolutions is not safe in it there."""
    monkeypatch.setattr(hardware, "has_native_bfloat16", lambda _: True)
    found = {
        wanted: train(recipe_of(replace(HOW, steps=1, precision=wanted)), 1, heads(), tmp_path / wanted).precision
        for wanted in ("auto", "bfloat16")
    }
    assert found == {"auto": "float32", "bfloat16": "bfloat16"}


def test_bfloat16_on_a_processor_learns_as_float32_does(tmp_path: Path) -> None:
    """Also where features are two planes deep, whose gradients some processors get wrong in it."""
    model = ModelRecipe(
        network="phantom-unet", network_parameters={"channels": [8, 16]}, spacing_zyx_mm=SPACING, patch=(2, 32, 32)
    )
    courses = {}
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    for precision in precisions:
        how = replace(HOW, steps=4, precision=precision, learning_rate=0.005)
        train(recipe_of(how, model), 1, heads(), tmp_path / precision)
        courses[precision] = [point["loss"] for point in read_curve(tmp_path / precision / CURVE)]
    assert courses["bfloat16"] == pytest.approx(courses["float32"], rel=0.02)


def test_wrong_gradients_are_not_trained_on(tmp_path: Path) -> None:
    """A machine whose bfloat16 is wrong trains in float32, and the entry says so."""
    recipe = recipe_of(replace(HOW, steps=1, precision="bfloat16"))
    with SpoiledBfloat16(torch.nn.functional.conv3d), capture_logs() as logs:
        trained = train(recipe, 1, heads(), tmp_path)
    assert trained.precision == "float32"
    (warned,) = [line for line in logs if line["event"] == "bfloat16_is_wrong_here"]
    assert warned["convolutions"]


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    """The weights are those of the best validation, and nothing is left to chance between two trainings."""
    how = replace(HOW, steps=60, validate_every=20, learning_rate=0.01, loss="dice-ce-present")
    trained = train(recipe_of(how), 1, heads(), tmp_path)
    curve = read_curve(tmp_path / CURVE)
    said = {point["step"]: point["validation_dice"] for point in curve if "validation_dice" in point}
    assert list(said) == [20, 40, 60]
    assert trained.score is not None
    assert trained.score.dice == max(said.values()) == said[trained.step]
    assert trained.score.dice > 0.6


def test_it_stops_early(tmp_path: Path) -> None:
    """After as many validations without a better one as the recipe has patience."""
    how = replace(HOW, steps=40, learning_rate=1e-12, patience=2)
    trained = train(recipe_of(how), 1, heads(), tmp_path)
    assert (trained.step, trained.steps) == (4, 12)


def test_checkpoints_belong_to_one_training(tmp_path: Path) -> None:
    """Another recipe, seed or data does not go on from it; a damaged one is said to be."""
    short = replace(HOW, steps=2)
    train(recipe_of(short), 1, heads(), tmp_path)
    for recipe, seed in ((recipe_of(HOW), 1), (recipe_of(short), 2)):
        with pytest.raises(CheckpointUnfit, match="another recipe"):
            train(recipe, seed, heads(), tmp_path)
    with pytest.raises(CheckpointUnfit):
        train(recipe_of(short), 1, replace(heads(), digest="others"), tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"half of it")
    with pytest.raises(CheckpointUnfit, match="cannot be read"):
        load_checkpoint(tmp_path / CHECKPOINT, "")


def test_batches_add_up(tmp_path: Path) -> None:
    """A step over two batches moves the weights by the mean of their gradients."""
    recipe = recipe_of(replace(HOW, steps=1, accumulate=2, batch=1))
    trained = train(recipe, 3, heads(validation=0), tmp_path)
    torch.manual_seed(3)
    network = build(recipe.model.network, network_parameters(recipe))
    expect_background(network, 2)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate_at(1, recipe.training), weight_decay=1e-4)
    patches, criterion = Patches.of(recipe), loss_of(recipe)
    batches = [patches.draw(heads().training, chance(3, 1, number)) for number in range(2)]
    assert not torch.equal(batches[0][0], batches[1][0])
    losses = [criterion(network(image), labels) for image, labels in batches]
    (sum(losses) / 2).backward()  # type: ignore[union-attr]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    assert read_curve(tmp_path / CURVE)[0]["loss"] == pytest.approx(
        float(sum(losses).detach()) / 2,  # type: ignore[union-attr]
        rel=1e-5,
    )
    for name, value in network.named_parameters():
        assert torch.allclose(trained.weights[name], value, atol=1e-4)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    """A patch that the network cannot take, a network that there is not, and a loss that is no number."""
    model = recipe_of(HOW).model
    with pytest.raises(TrainingFailed, match="patch of 4 x 15 x 15"):
        train(recipe_of(HOW, replace(model, patch=(4, 15, 15))), 1, heads(), tmp_path / "a")
    with pytest.raises(ModelError, match="no network"):
        train(recipe_of(HOW, replace(model, network="unet-9000")), 1, heads(), tmp_path / "b")
    with pytest.raises(TrainingFailed, match="no number"):
        train(recipe_of(replace(HOW, weight_decay=1e38)), 1, heads(), tmp_path / "c")


def test_short_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out on the way back too is one sentence with a way out."""

    def short(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "backward", short)
    with pytest.raises(TrainingFailed, match=r"smaller training\.batch"):
        train(recipe_of(HOW), 1, heads(), tmp_path)


def test_patches_are_as_in_service() -> None:
    """HU are scaled as the engine does it, axes turned as the model wants them, outside the scan is air."""
    model = ModelRecipe(
        network="any", spacing_zyx_mm=SPACING, patch=(48, 40, 30), orientation="RAS", hu_windows=((0.0, 100.0),)
    )
    recipe = recipe_of(TrainingRecipe(batch=1), model)
    plain = replace(recipe.augmentation, mirror=0, contrast=0, brightness_hu=0, noise_hu=0)
    sample = head(2)
    image, labels = Patches.of(replace(recipe, augmentation=plain)).draw([sample], np.random.default_rng(1))
    assert (tuple(image.shape), tuple(labels.shape)) == ((1, 1, 48, 40, 30), (1, 48, 40, 30))
    said, true = image[0, 0].numpy(), labels[0].numpy()
    at_zyx = tuple(int(one) for one in np.argwhere(sample.labels_zyx)[0])
    # x runs to the left and y to the back on the grid, both the other way in RAS; the patch is as wide as the head
    there = (47 - at_zyx[2], slice(None), slice(None))
    assert true[there].any()
    assert np.allclose(said[true == 1], np.clip(65 / 50 - 1, -1, 1), atol=0.15)
    assert (said[..., 20:] == -1).all()  # beyond the scan's 20 slices


def test_what_lies_opposite_is_the_same_in_training_and_in_service() -> None:
    """With `mirror_image` a patch has what lies opposite as its second view, to the voxel as the engine shows it."""
    model = ModelRecipe(
        network="any", spacing_zyx_mm=SPACING, patch=(20, 48, 48), hu_windows=((0.0, 100.0),), mirror_image=True
    )
    recipe = recipe_of(TrainingRecipe(batch=1), model)
    plain = replace(
        recipe, augmentation=replace(recipe.augmentation, mirror=0, contrast=0, brightness_hu=0, noise_hu=0)
    )
    sample = head(2).halved(SPACING)
    image, _ = Patches.of(plain).draw([sample], np.random.default_rng(1))
    assert tuple(image.shape) == (1, 2, 20, 48, 48)
    seen: list[torch.Tensor] = []

    class Watch(torch.nn.Module):
        def forward(self, window: torch.Tensor) -> torch.Tensor:
            seen.append(window)
            return torch.zeros(1, 2, *window.shape[2:])

    spec = spec_of(recipe)
    everywhere = replace(spec, parameters={**spec.parameters, "everywhere": True})
    engine = SlidingWindowSegmenter(
        everywhere, [Watch()], members=(1,), precision="float32", device=torch.device("cpu")
    )
    engine.warm()
    engine.segment(sample.grid(SPACING))
    assert [tuple(window.shape) for window in seen] == [(1, 2, 20, 48, 48)] * 2
    assert torch.allclose(seen[1], image, atol=1e-4)
    assert not torch.allclose(image[:, 0], image[:, 1], atol=0.5)


def test_an_answer_is_asked_for_all_of_it() -> None:
    """Auxiliary answers weigh 1/2, 1/4, ...; presence adds its own cross-entropy, of each slice or of the patch."""
    labels = torch.zeros(2, 4, 8, 8, dtype=torch.long)
    labels[0, 1:3, 2:6, 2:6] = 1
    right = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float() * 40 - 20
    criterion = loss_of(recipe_of(TrainingRecipe(loss="dice-ce")))
    good, bad = float(criterion(right, labels)), float(criterion(-right, labels))
    deep = criterion(Answer(logits=right, auxiliary=(-right, right)), labels)
    assert float(deep) == pytest.approx((good + 0.5 * bad + 0.25 * good) / 1.75, rel=1e-4)
    slices = torch.tensor([[-9.0, 9, 9, -9], [-9, -9, -9, -9]])[..., None]
    assert float(criterion(Answer(logits=right, presence=slices), labels)) == pytest.approx(good, abs=1e-3)
    assert float(criterion(Answer(logits=right, presence=-slices), labels)) == pytest.approx(good + 9, abs=1e-3)
    patch = torch.tensor([[9.0], [-9]])[..., None]
    assert float(criterion(Answer(logits=right, presence=patch), labels)) == pytest.approx(good, abs=1e-3)


def test_losses_look_at_every_level() -> None:
    """Deep answers weigh 1, 1/2, ...; every loss falls where the answer is right, and knows empty patches."""
    labels = torch.zeros(2, 4, 8, 8, dtype=torch.long)
    labels[0, 1:3, 2:6, 2:6] = 1
    right = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float() * 40 - 20
    for loss in ("dice-ce", "dice-focal", "dice-ce-present"):
        criterion = loss_of(recipe_of(TrainingRecipe(loss=loss)))
        good, bad = float(criterion(right, labels)), float(criterion(-right, labels))
        assert good < 0.02
        assert bad > 1
        deep = float(criterion(torch.stack([right, -right], dim=1), labels))
        assert deep == pytest.approx((good + 0.5 * bad) / 1.5, rel=1e-4)
        assert float(criterion(right[1:], labels[1:])) < 0.6
