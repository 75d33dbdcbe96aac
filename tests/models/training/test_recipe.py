"""Recipes: what is wrong is named, and what decides the weights is hashed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.evaluation.label_map import BINARY, FIVE_SUBTYPE, FOUR_CLASS, label_map_of
from models.training.recipe import RecipeInvalid, TrainingRecipe, load_recipe
from models.training.spec import spec_of
from models.training.target import channels_of
from models.vocabulary import label_named
from tests.models.training.small_heads import recipe_of

GOOD = """
name = "mine"
labels = ["ICH"]
[[data]]
path = "scans"
[model]
network = "phantom-unet"
network_parameters = {channels = [4, 8]}
spacing_zyx_mm = [5, 1, 1]
patch = [4, 16, 16]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read(tmp_path: Path) -> None:
    """Paths start at the recipe's folder; what is not said has its default; no path goes into the record."""
    recipe = load_recipe(written(tmp_path, GOOD))
    assert recipe.data[0].path == tmp_path / "scans"
    assert (recipe.seeds, recipe.split.by, recipe.training.loss) == ((1,), "patient", "dice-ce")
    assert recipe.to_plain()["data"][0]["path"] == "scans"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("labels", "lables"), "lables"),
        (("patch = [4, 16, 16]", "patch = [4, 16]"), "model.patch"),
        (("patch = [4, 16, 16]", "patch = [4, 16, 16]\n[training]\nstep = 5"), "training.step"),
        (("patch = [4, 16, 16]", "patch = [4, 16, 16]\n[training]\nloss = 'hinge'"), "training.loss"),
        (("patch = [4, 16, 16]", "patch = [4, 16, 16]\nhu_windows = [[80, 0]]"), "hu_windows"),
        (("patch = [4, 16, 16]", "patch = [4, 16, 16]\n[split]\nby = 'slice'"), "only 'patient'"),
        (("patch = [4, 16, 16]", "patch = [4, 16, 16]\n[split]\ntest_fold = 0"), "test_fold"),
        (("[4, 16, 16]", "[4, 16, 16]\n[training]\nloss_hu = [80, 0]"), "loss_hu"),
        (("[4, 16, 16]", "[4, 16, 16]\n[training]\nempty_slice_weight = 0"), "empty_slice_weight"),
        (("[4, 16, 16]", "[4, 16, 16]\n[augmentation]\nrotation = 5"), "augmentation.rotation"),
        (("[4, 16, 16]", "[4, 16, 16]\n[pretraining]\nkind = 'osmosis'"), "pretraining.kind"),
        (("[4, 16, 16]", "[4, 16, 16]\n[pretraining]\nkind = 'global-contrastive'\nbatch = 1"), "two patches"),
        (("[4, 16, 16]", "[4, 16, 16]\n[pretraining]\nkind = 'global-contrastive'\nstep = 1"), "pretraining.step"),
        (("[4, 16, 16]", "[4, 16, 16]\n[teacher]\nmodel = 'one'"), "teacher.data"),
        (("[4, 16, 16]", "[4, 16, 16]\n[teacher]\nmodel = 'one'\nabove = 0.4\n[[teacher.data]]\npath = 'x'"), "above"),
        (('"ICH"', '"blood clot"'), "blood clot"),
        (('name = "mine"', 'name = "My Model"'), "name"),
        (('name = "mine"', 'name = "mine'), "not valid"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    """A wrong key or value, a split by slices, a test fold that chooses the weights, and a label nobody knows."""
    with pytest.raises(Exception, match=named) as caught:
        load_recipe(written(tmp_path, GOOD.replace(*change)))
    assert caught.value.__class__.__name__ in {"RecipeInvalid", "ModelSpecInvalid"}


def test_the_hash_is_of_what_decides() -> None:
    """Other steps are another training; another device or number of threads is the same one."""
    recipe = recipe_of(TrainingRecipe(steps=5))
    assert recipe.sha256 == replace(recipe, training=replace(recipe.training, device="cuda", threads=7)).sha256
    assert recipe.sha256 != replace(recipe, training=replace(recipe.training, steps=6)).sha256


def test_folders_do_not_decide(tmp_path: Path) -> None:
    """Scans of a teacher and of a pre-training lie beside the recipe, and neither hash nor record says where."""
    more = "[pretraining]\nkind = 'context-restoration'\n[[pretraining.data]]\npath = 'PLAIN'\n"
    more += "[teacher]\nmodel = 'one'\n[[teacher.data]]\npath = 'PLAIN'\n"
    recipe = load_recipe(written(tmp_path, GOOD + more.replace("PLAIN", "here")))
    assert recipe.pretraining is not None
    assert recipe.teacher is not None
    assert recipe.pretraining.data[0].path == recipe.teacher.data[0].path == tmp_path / "here"
    other = load_recipe(written(tmp_path, GOOD + more.replace("PLAIN", "there")))
    assert recipe.sha256 == other.sha256
    assert str(tmp_path) not in str(recipe.to_plain())
    assert recipe.sha256 != load_recipe(written(tmp_path, GOOD)).sha256


def test_masks_teach_what_they_tell_apart() -> None:
    """Four classes, five subtypes and plain masks, each onto labels that it can teach."""
    labels = [label_named(name, index) for index, name in enumerate(("IPH", "EAH", "oedema", "IVH"), start=1)]
    assert channels_of(FOUR_CLASS, labels, "x") == {1: 1, 2: 2, 3: 3, 4: 4}
    without = [label_named(name, index) for index, name in enumerate(("IPH", "IVH", "EAH"), start=1)]
    assert channels_of(FIVE_SUBTYPE, without, "x") == {2: 1, 3: 2, 1: 3, 4: 3, 5: 3}
    assert channels_of(BINARY, [label_named("ICH", 1)], "x") == {1: 1, 255: 1}
    assert channels_of(FOUR_CLASS, [label_named("ICH", 1)], "x") == {1: 1, 2: 1, 4: 1}


@pytest.mark.parametrize(
    ("label_map", "names", "why"),
    [
        (FOUR_CLASS, ("IPH", "IVH", "SDH"), "SDH"),
        (BINARY, ("IPH",), "IPH"),
        (FIVE_SUBTYPE, ("ICH", "oedema"), "oedema"),
        (FOUR_CLASS, ("IPH",), "taught as healthy"),
        (FOUR_CLASS, ("ICH", "IPH"), "both stand"),
    ],
)
def test_nothing_is_taught_wrong(label_map: object, names: tuple[str, ...], why: str) -> None:
    """Masks that cannot tell a label apart, and blood that would be taught as healthy, are refused."""
    labels = [label_named(name, index) for index, name in enumerate(names, start=1)]
    with pytest.raises(RecipeInvalid, match=why):
        channels_of(label_map, labels, "x")  # type: ignore[arg-type]


def test_untyped_haemorrhage_can_be_scored() -> None:
    """A model that marks blood without a type is compared on any haemorrhage."""
    assert label_map_of(spec_of(recipe_of(TrainingRecipe()))).classes == ((1, "any"),)
