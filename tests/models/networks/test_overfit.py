"""Every network of the table learns two heads by heart, trained and seen as by `ichor train`.

Small forms on small heads here; `make test-models` (MODELS_FULL=1) takes the networks as they are, and phantoms: on a
coarse grid, in small patches and without augmentation, so that a processor can do it too.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from console.training.samples import Reading, read_samples
from models.evaluation.label_map import FOUR_CLASS
from models.evaluation.overlap import Overlap, overlap_of
from models.networks.catalogue import NETWORKS
from models.phantoms import write_phantom
from models.phantoms.benchmark import benchmark_studies
from models.training.data.catalogue import read_data
from models.training.recipe import Augmentation, ModelRecipe, TrainingRecipe
from models.training.target import channels_of
from models.training.trainer import Heads, train
from tests.models.training.small_heads import SPACING, head, heads, recipe_of

FULL = os.environ.get("MODELS_FULL") == "1"
PRECISION: Any = os.environ.get("MODELS_PRECISION", "auto")  # bfloat16: a third of the time on a processor with AMX
PHANTOMS = ("test-009", "test-025")
THICK = ("train-012", "train-020")  # bleeds of 9 to 38 mL, none a thin sheet
PHANTOM_LABELS, PHANTOM_SPACING_ZYX_MM = ("IPH", "EAH", "oedema", "IVH"), (5.0, 3.0, 3.0)
BY_HEART = Augmentation(mirror=0, contrast=0, brightness_hu=0, noise_hu=0)
ONE, TWO, THREE = ((0.0, 100.0),), ((0.0, 100.0), (0.0, 60.0)), ((0.0, 100.0), (-50.0, 200.0), (0.0, 60.0))
MOBILE = [[1, 8, 1, 1], [2, 8, 1, 2], [2, 16, 1, 2], [2, 16, 1, 2], [2, 16, 1, 1], [2, 16, 1, 2]]


def small(
    name: str,
    parameters: dict[str, Any],
    patch: tuple[int, int, int] = (8, 32, 32),
    windows: tuple[tuple[float, float], ...] = ONE,
    orientation: str = "SPL",
    *,
    mirror_image: bool = False,
) -> ModelRecipe:
    return ModelRecipe(
        network=name,
        network_parameters=parameters,
        spacing_zyx_mm=SPACING,
        patch=patch,
        hu_windows=windows,
        orientation=orientation,
        mirror_image=mirror_image,
    )


MODELS = (
    small("attention-unet", {"channels": [8, 16, 24]}),
    small("cascade-unet", {"features": [8, 8, 8, 8, 8, 8], "filters": [8, 16, 16]}),
    small("cnn-ds", {"filters": [8, 16, 16]}),
    small("csr-unet", {"filters": [8, 16, 16]}, (4, 32, 32)),
    small("d-unet", {"features": [8, 8, 16, 16, 16, 8], "dropout": 0.1}, (4, 32, 32)),
    small("dense-unet", {"init": 8, "growth": 8, "blocks": [1, 1, 1, 1], "decoder": [16, 16, 16, 8, 8]}, (4, 32, 32)),
    small("dual-fcn", {"filters": [8, 16, 16], "layers": [1, 1, 1]}, (4, 48, 48), TWO),
    small("dynunet-r", {"filters": [8, 8, 8, 8, 8, 8, 8], "supervised": 2}, (32, 32, 8), THREE, "RAS"),
    small("hybrid-unet", {"filters": [4, 8, 8]}, (4, 32, 32), THREE),
    small("iha-net", {"filters": [8, 16, 16]}, (4, 32, 32)),
    small(
        "mobile-unet",
        {"stages": MOBILE, "last": 32, "hidden": 32, "depth": 1, "decoder": [16, 16, 16, 8, 8]},
        (4, 32, 32),
    ),
    small("multiscale-cnn", {"filters": [8, 8, 16, 16], "joined": [16]}),
    small("patchfcn", {"width": 4, "blocks": [1, 1, 1, 1]}, (4, 48, 48)),
    small("phantom-unet", {"channels": [8, 16]}),
    small("residual-unet", {"filters": [8, 16, 16]}, (4, 32, 32)),
    small("scse-unet", {"backbone": "resnet10", "decoder": [16, 16, 16, 8, 8]}, (4, 32, 32), THREE),
    small("se-unet-3d", {"filters": [8, 16, 16]}, mirror_image=True),
    small("segresnet-2.5d", {"filters": 8, "beside": 1}, (4, 32, 32), THREE),
    small("siamese-unet", {"filters": [8, 16, 16]}, (4, 32, 32), mirror_image=True),
    small("swin-unetr", {"features": 12, "depths": [1, 1, 1, 1], "heads": [1, 2, 4, 8]}, (32, 64, 32)),
    small("unet-2d", {"features": [8, 8, 16, 16, 16, 8]}, (4, 32, 32)),
    small("unet-3d", {"filters": [8, 16, 24, 32]}),
    small("viola-unet", {"filters": [8, 8, 8, 8, 8, 8, 8], "supervised": 2}, (32, 32, 8), THREE, "RAS"),
)


# enough for each in its small form
STEPS = {
    "cascade-unet": 50,
    "cnn-ds": 60,
    "csr-unet": 60,
    "d-unet": 80,
    "dense-unet": 60,
    "dual-fcn": 80,
    "dynunet-r": 60,
    "hybrid-unet": 60,
    "iha-net": 60,
    "mobile-unet": 80,
    "multiscale-cnn": 50,
    "patchfcn": 220,
    "phantom-unet": 60,
    "residual-unet": 60,
    "scse-unet": 70,
    "se-unet-3d": 140,
    "siamese-unet": 50,
    "unet-2d": 140,
    "viola-unet": 60,
}


# of the networks at their own size, over patches of two phantoms
FULL_STEPS = {
    "cnn-ds": 400,
    "dual-fcn": 1800,
    "dynunet-r": 250,
    "mobile-unet": 400,
    "multiscale-cnn": 300,
    "patchfcn": 1500,
    "phantom-unet": 300,
    "residual-unet": 300,
    "scse-unet": 300,
    "se-unet-3d": 700,
    "segresnet-2.5d": 350,
    "viola-unet": 250,
}
FULL_PARAMETERS: dict[str, dict[str, Any]] = {
    "d-unet": {"dropout": 0.0},  # which is there against learning by heart
    "dynunet-r": {"dropout": 0.0},
    "phantom-unet": {"channels": [16, 32, 64, 64]},
    "viola-unet": {"dropout": 0.0},
}
FULL_RATE = {"dual-fcn": 2e-3, "patchfcn": 2e-3, "swin-unetr": 1e-3}
FULL_PATCH = {"dual-fcn": (4, 64, 64), "patchfcn": (8, 64, 64), "swin-unetr": (32, 64, 64)}
# an answer for eight voxels at once cannot show a sheet, whatever was learnt: other bleeds, on the phantoms' own pixels
FULL_PHANTOMS = {"dual-fcn": THICK, "patchfcn": THICK}
FINE_ZYX_MM = (5.0, 1.5, 1.5)
FULL_SPACING_ZYX_MM = {"dual-fcn": FINE_ZYX_MM, "patchfcn": FINE_ZYX_MM}


def full(model: ModelRecipe) -> ModelRecipe:
    """Return the network at its own size, over patches of a phantom."""
    patch = (64, 64, 16) if model.orientation == "RAS" else FULL_PATCH.get(model.network, (16, 64, 64))
    parameters = FULL_PARAMETERS.get(model.network, {})
    spacing_zyx_mm = FULL_SPACING_ZYX_MM.get(model.network, PHANTOM_SPACING_ZYX_MM)
    return replace(model, network_parameters=parameters, spacing_zyx_mm=spacing_zyx_mm, patch=patch)


def full_training(name: str) -> TrainingRecipe:
    """Return how a network of its own size learns two phantoms."""
    steps = FULL_STEPS.get(name, 200)
    return TrainingRecipe(
        steps=steps,
        batch=2,
        learning_rate=FULL_RATE.get(name, 3e-3),
        loss="dice-ce-present",
        on_lesion=0.75,
        validate_every=steps,
        checkpoint_every=steps,
        precision=PRECISION,
    )


def small_training(name: str) -> TrainingRecipe:
    """Return how a network of its small form learns two small heads."""
    return TrainingRecipe(
        steps=STEPS.get(name, 100),
        batch=2,
        learning_rate=1e-2,
        loss="dice-ce-present",
        on_lesion=0.5,
        validate_every=1000,
        precision="float32",
        threads=1,
    )


def small_pair() -> Heads:
    """Two small heads with a bleed, to train and to be asked about."""
    known = heads(training=2)
    return replace(known, validation=known.training)


def phantoms(folder: Path, spacing_zyx_mm: tuple[float, float, float], names: tuple[str, str] = PHANTOMS) -> Heads:
    """Two studies of the benchmark, each with large bleeds of several kinds, to train and to be asked about."""
    for study in benchmark_studies():
        if study.name in names:
            write_phantom(folder / "phantoms" / study.name, study.plan)
    data = read_data(folder / "phantoms")
    label_specs = recipe_of(TrainingRecipe(), labels=PHANTOM_LABELS).label_specs
    reading = Reading(
        spacing_zyx_mm=spacing_zyx_mm,
        label_map=FOUR_CLASS,
        channels=channels_of(FOUR_CLASS, label_specs, data.name),
        cache=folder / "cache",
    )
    found, faults = read_samples(data.cases, reading)
    assert len(found) == len(names)
    assert not faults
    both = [one.sample for one in found]
    return Heads(training=both, validation=both, digest="of two phantoms")


def best_dice_at_an_eighth(known: Heads) -> float:
    """Return the Dice of any haemorrhage of logits for each 8 x 8 voxels that are fitted to the truth itself."""
    blood = [1 + PHANTOM_LABELS.index(name) for name in PHANTOM_LABELS if name != "oedema"]
    overlap = Overlap(both=0, truth_only=0, answer_only=0)
    for one in known.validation:
        truth = torch.from_numpy(np.isin(one.labels_zyx, blood).astype(np.float32))[:, None]
        truth = functional.pad(truth[truth.amax(dim=(1, 2, 3)) > 0], (0, -truth.shape[3] % 8, 0, -truth.shape[2] % 8))
        coarse = torch.full((len(truth), 1, truth.shape[2] // 8, truth.shape[3] // 8), -4.0, requires_grad=True)
        optimiser = torch.optim.Adam([coarse], lr=0.3)
        for _ in range(150):
            said = torch.sigmoid(functional.interpolate(coarse, size=truth.shape[2:], mode="bilinear"))
            optimiser.zero_grad()
            dice = 2 * (said * truth).sum() / (said.sum() + truth.sum())
            (5 * functional.binary_cross_entropy(said, truth) - dice).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        overlap += overlap_of((said > 0.5).numpy(), (truth > 0).numpy())
    return overlap.dice(empty="one")


def test_what_answers_for_eight_voxels_could_know_its_two_heads(tmp_path: Path) -> None:
    """The bleeds that it is asked for can be shown by it, which those of the others on their grid cannot."""
    assert best_dice_at_an_eighth(phantoms(tmp_path / "thick", FINE_ZYX_MM, THICK)) > 0.9
    assert best_dice_at_an_eighth(phantoms(tmp_path / "thin", PHANTOM_SPACING_ZYX_MM)) < 0.8


def test_all_networks_are_here() -> None:
    """No network of the table goes untested."""
    assert {model.network for model in MODELS} == set(NETWORKS)


@pytest.mark.timeout(0 if FULL else 300)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.network)
def test_it_learns_two_heads_by_heart(model: ModelRecipe, tmp_path: Path) -> None:
    """Dice of at least 0.9 in a bounded number of steps, by the engine that serves."""
    if model.network == "swin-unetr" and not FULL:
        pytest.skip("the Transformer takes minutes: `make test-models`")
    if FULL:
        recipe = recipe_of(full_training(model.network), full(model), labels=PHANTOM_LABELS)
        recipe = replace(recipe, augmentation=BY_HEART)
    else:
        recipe = recipe_of(small_training(model.network), model)
    pair = FULL_PHANTOMS.get(model.network, PHANTOMS)
    known = phantoms(tmp_path, recipe.model.spacing_zyx_mm, pair) if FULL else small_pair()
    trained = train(recipe, 1, known, tmp_path)
    assert trained.score is not None
    assert trained.score.dice >= 0.9


def test_phantom_unet_learns_by_blocks_of_voxels(tmp_path: Path) -> None:
    """With `subpixel` it takes 2 x 2 voxels as channels, and still finds each voxel of the lesion."""
    model = small("phantom-unet", {"channels": [16, 16], "subpixel": 2})
    how = TrainingRecipe(
        steps=60, learning_rate=1e-2, loss="dice-ce-present", validate_every=1000, precision="float32", threads=1
    )
    trained = train(recipe_of(how, model, labels=("ICH",)), 1, small_pair(), tmp_path)
    assert trained.score is not None
    assert trained.score.dice >= 0.9


@pytest.mark.timeout(300)
def test_csr_unet_tells_two_kinds_apart(tmp_path: Path) -> None:
    """It segments and classifies: a bleed of either kind is marked as that kind, in a head that holds both."""
    model = next(model for model in MODELS if model.network == "csr-unet")
    how = TrainingRecipe(
        steps=130, learning_rate=1e-2, loss="dice-ce-present", validate_every=1000, precision="float32", threads=1
    )
    both = [head(seed, labels=2) for seed in range(2)]
    known = Heads(training=both, validation=both, digest="of two kinds")
    trained = train(recipe_of(how, model, labels=("SDH", "EDH")), 1, known, tmp_path)
    assert trained.score is not None
    assert {name: dice is not None and dice >= 0.9 for name, dice in trained.score.dice_by_label.items()} == {
        "SDH": True,
        "EDH": True,
    }
