"""Training on slice labels alone: it learns, goes on where it stopped, and its maps lie on the blood."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.engines.slice_view import SliceView
from models.evaluation.overlap import Overlap, overlap_of
from models.registry import Registry
from models.tissue import intracranial_tissue
from models.training.checkpoint import CheckpointUnfit
from models.training.curve import read_curve
from models.training.map_threshold import NoMaskToValidate, choose_thresholds
from models.training.patches import chance
from models.training.recipe import RecipeInvalid
from models.training.slice_batches import SliceBatches, view_of
from models.training.slice_entry import write_slice_entry
from models.training.slice_recipe import SliceTraining, is_slice_recipe, load_slice_recipe
from models.training.slice_trainer import TrainedClassifier, train_classifier
from models.training.trainer import CURVE, TrainingFailed
from tests.models.training.manifests import manifest_of
from tests.models.training.small_slices import labelled, recipe_of, slice_heads

SHORT = SliceTraining(steps=6, batch=4, validate_every=3, checkpoint_every=2, threads=1)


class StoppedError(Exception):
    """Somebody pulled the plug."""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    """A classifier that was told of each slice whether it shows blood, and nothing else."""
    how = SliceTraining(steps=40, batch=12, learning_rate=3e-3, validate_every=40, checkpoint_every=40, threads=1)
    return train_classifier(recipe_of(how), 1, slice_heads(), tmp_path_factory.mktemp("learned"))


def test_it_tells_slices_apart(learned: TrainedClassifier) -> None:
    """Slices of heads that it never met: those with blood come before those without."""
    assert learned.validation_auc is not None
    assert learned.validation_auc > 0.9


def test_what_is_served_is_what_was_chosen(learned: TrainedClassifier, tmp_path: Path) -> None:
    """Written as an entry and loaded from the registry, it marks the validation scans with the Dice that is stated."""
    recipe = replace(recipe_of(SHORT), map="gradcam")
    (threshold,) = choose_thresholds(
        recipe, [learned.classifier(recipe)], slice_heads().threshold, ["gradcam"]
    ).values()
    spec = write_slice_entry(tmp_path / recipe.name, recipe, [learned.weights], threshold, manifest_of(recipe))
    assert (spec.parameters["map"], spec.parameters["threshold"]) == ("gradcam", threshold.value)
    card = (tmp_path / recipe.name / "card.md").read_text()
    assert f"`gradcam` map above {threshold.value:g}" in card
    assert "not on masks" in card
    assert card.startswith(f"# {recipe.name}, version {recipe.version}: NEVER FOR PATIENTS")  # it saw phantoms alone
    segmenter = Registry(tmp_path).load(recipe.name, device="cpu")
    segmenter.warm()
    overlap = Overlap(both=0, truth_only=0, answer_only=0)
    for sample in slice_heads().threshold:
        found = segmenter.segment(sample.grid(recipe.classifier.spacing_zyx_mm))
        overlap += overlap_of(found.probabilities_czyx.argmax(axis=0) == 1, np.asarray(sample.blood_zyx))
    assert overlap.dice(empty="one") == pytest.approx(threshold.dice, abs=0.01)
    assert threshold.dice > 0.05


def test_the_threshold_is_the_best_on_validation(learned: TrainedClassifier) -> None:
    """The Dice that is stated is that of the marked voxels of these scans; without a mask there is no threshold."""
    from models.engines.memory import ladder
    from models.engines.slice_maps import head_maps

    recipe = recipe_of(SHORT)
    classifier = learned.classifier(recipe)
    samples = slice_heads().threshold
    (chosen,) = choose_thresholds(recipe, [classifier], samples, ["hgi-sam"]).values()
    rung = ladder(torch.device("cpu"), batch=4, shrinks=())[0]
    maps = [
        head_maps(classifier, view_of(recipe), one.grid(recipe.classifier.spacing_zyx_mm), ["hgi-sam"], rung)
        for one in samples
    ]
    said = np.concatenate([one.maps["hgi-sam"].ravel() for one in maps])
    true = np.concatenate([np.asarray(one.blood_zyx).ravel() for one in samples])

    def dice(threshold: float) -> float:
        marked = said >= threshold
        return float(2 * (marked & true).sum() / (marked.sum() + true.sum()))

    assert chosen.dice == pytest.approx(dice(chosen.value), abs=1e-3)
    assert chosen.dice >= max(dice(value) for value in np.linspace(0.05, 0.95, 19)) - 1e-3
    with pytest.raises(NoMaskToValidate):
        choose_thresholds(recipe, [classifier], [labelled(1, masked=False)], ["hgi-sam"])


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Stopped between two checkpoints, it takes the same course, to the bit; another training's folder is refused."""
    recipe = recipe_of(SHORT)
    straight = train_classifier(recipe, 1, slice_heads(training=2, validation=1), tmp_path / "straight")

    def stop(fraction: float) -> None:
        if fraction >= 5 / 6:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_classifier(recipe, 1, slice_heads(training=2, validation=1), tmp_path / "broken", on_progress=stop)
    resumed = train_classifier(recipe, 1, slice_heads(training=2, validation=1), tmp_path / "broken")
    assert read_curve(tmp_path / "broken" / CURVE) == read_curve(tmp_path / "straight" / CURVE)
    assert all(torch.equal(resumed.weights[name], value) for name, value in straight.weights.items())
    with pytest.raises(CheckpointUnfit):
        train_classifier(recipe, 2, slice_heads(training=2, validation=1), tmp_path / "broken")


def test_six_outputs_need_subtypes(tmp_path: Path) -> None:
    """Subtypes that nobody told are not learned as absent; where they are told, there are six answers."""
    recipe = recipe_of(replace(SHORT, steps=1), subtypes=True)
    with pytest.raises(TrainingFailed, match="nobody says the subtypes"):
        train_classifier(recipe, 1, slice_heads(subtypes=False, training=1, validation=1), tmp_path / "a")
    six = train_classifier(recipe, 1, slice_heads(training=1, validation=1), tmp_path / "b")
    assert six.weights["head.weight"].shape[0] == 6


def test_batches_are_as_in_service() -> None:
    """Unchanged, a slice of a batch is the very image that the engine sees; half of a batch shows blood."""
    recipe = recipe_of(SliceTraining(batch=400))
    still = replace(
        recipe.augmentation, mirror=0, turn_deg=0, scale=0, shift=0, contrast=0, brightness_hu=0, noise_hu=0
    )
    sample = labelled(1)
    image, targets = SliceBatches.of(replace(recipe, augmentation=still), [sample]).draw(chance(1, 1, 0))
    assert float(targets[:, 0].mean()) == pytest.approx(0.5, abs=0.1)
    view = view_of(recipe)
    grid = sample.grid(recipe.classifier.spacing_zyx_mm)
    served = view.image(torch.from_numpy(view.hu(grid, view.square(intracranial_tissue(grid)))))
    nearest = [min(float((one - plane).abs().max()) for plane in served) for one in image[:5]]
    assert max(nearest) < 1e-2


def test_a_square_may_reach_over_the_edge() -> None:
    """A head smaller than the square is set in air, and what is pasted back lies where it was cut."""
    view = SliceView(side=60, hu_windows=((0.0, 100.0),))
    sample = labelled(3)
    grid = sample.grid(recipe_of(SHORT).classifier.spacing_zyx_mm)
    square = view.square(intracranial_tissue(grid))
    cut = view.hu(grid, square)
    assert cut.shape == (20, 60, 60)
    assert cut[:, 0].max() == -1024
    back = np.zeros(grid.hu_zyx.shape, dtype=np.float32)
    square.paste(cut, back)
    assert np.array_equal(back, grid.hu_zyx)


def test_recipes_are_read_strictly(tmp_path: Path) -> None:
    """A table of its own tells them apart; unknown keys are named; the map has no say in the weights."""
    path = tmp_path / "weak.toml"
    path.write_text('name = "w"\n[[data]]\npath = "scans"\n[classifier]\nspacing_zyx_mm = [5, 1, 1]\n')
    assert is_slice_recipe(path)
    recipe = load_slice_recipe(path)
    assert (recipe.data[0].path, recipe.outputs, recipe.map) == (tmp_path / "scans", ("any",), "hgi-sam")
    assert recipe.sha256 == replace(recipe, map="gradcam").sha256
    assert recipe.sha256 != replace(recipe, subtypes=True).sha256
    path.write_text(path.read_text() + "sides = 5\n")
    with pytest.raises(RecipeInvalid, match="sides"):
        load_slice_recipe(path)
