"""The recipes of the literature's systems: what a comparison by `ichor compare --fair` would want of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from models.evaluation.provenance import LEAST_SEEDS
from models.networks.catalogue import NETWORKS, build
from models.training.losses import loss_of
from models.training.recipe import Recipe, load_recipe
from models.training.slice_recipe import is_slice_recipe, load_slice_recipe
from models.training.spec import network_parameters

DOCS = Path(__file__).resolve().parents[3] / "docs"
FILES = sorted((DOCS / "systems").glob("*.toml"))
OF_MASKS = [path for path in FILES if not is_slice_recipe(path)]
OF_SLICES = [path for path in FILES if is_slice_recipe(path)]
SHOWN_VOXELS = 2**21 * 10_000
IDLE = ("encoder._conv_head", "encoder._bn1", "encoder._fc")  # MONAI's EfficientNet brings its classifier along
OWN_DATA = {"zhao-2021"}  # no public set marks oedema


def shown(recipe: Recipe) -> int:
    how = recipe.training
    return math.prod(recipe.model.patch) * how.batch * how.accumulate * how.steps


def smaller(recipe: Recipe) -> tuple[int, int, int]:
    """Return a patch that a processor takes at once, of as many slices as the network must have."""
    last = recipe.model.orientation == "RAS"  # the axis of slices
    slices = min(recipe.model.patch[2 if last else 0], 32 if recipe.model.network == "swin-unetr" else 16)
    side = 32 if slices <= 8 else 64  # networks over slices need less
    return (side, side, slices) if last else (slices, side, side)


@pytest.mark.parametrize("path", OF_MASKS, ids=lambda path: path.stem)
def test_one_protocol_for_all(path: Path) -> None:
    """Named as its file, three seeds, one budget, the same scans and the same split."""
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert len(recipe.seeds) >= LEAST_SEEDS
    assert shown(recipe) == pytest.approx(SHOWN_VOXELS, rel=0.005)
    data = [one.path.relative_to(path.parent).as_posix() for one in recipe.data]
    assert data == (["data/own"] if recipe.name in OWN_DATA else ["data/bhsd"])
    assert recipe.split == load_recipe(OF_MASKS[0]).split


@pytest.mark.parametrize("path", OF_SLICES, ids=lambda path: path.stem)
def test_slice_labels_alone_teach_a_map(path: Path) -> None:
    """Masks choose the threshold of the map, and nothing else."""
    recipe = load_slice_recipe(path)
    assert recipe.name == path.stem
    assert len(recipe.seeds) >= LEAST_SEEDS
    assert {one.path for one in recipe.data}.isdisjoint(one.path for one in recipe.threshold_data)


@pytest.mark.parametrize("path", OF_MASKS, ids=lambda path: path.stem)
def test_the_network_takes_the_patch(path: Path) -> None:
    """One channel for each label and background, at the recipe's own size: shapes alone, without the arithmetic."""
    recipe = load_recipe(path)
    network = build(recipe.model.network, network_parameters(recipe)).to("meta").eval()
    views = 2 if recipe.model.mirror_image else 1
    with torch.inference_mode():
        answer = network(torch.zeros(1, views, *recipe.model.patch, device="meta"))
    assert tuple(answer.shape) == (1, len(recipe.labels) + 1, *recipe.model.patch)


@pytest.mark.parametrize("path", OF_MASKS, ids=lambda path: path.stem)
def test_the_loss_takes_the_answer(path: Path) -> None:
    """All that the network says while it learns goes into the recipe's loss, and its gradient into every weight."""
    recipe = load_recipe(path)
    network = build(recipe.model.network, network_parameters(recipe)).train()
    patch = smaller(recipe)
    random = torch.Generator().manual_seed(1)
    image = torch.rand(1, 2 if recipe.model.mirror_image else 1, *patch, generator=random) * 2 - 1
    labels = torch.randint(0, len(recipe.labels) + 1, (1, *patch), generator=random)
    loss = loss_of(recipe)(network(image).float(), labels)
    assert loss.isfinite()
    loss.backward()  # type: ignore[no-untyped-call]
    idle = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert [name for name in idle if not any(part in name for part in IDLE)] == []


def test_every_network_has_a_recipe() -> None:
    """But for the one of this project, which ships."""
    assert {load_recipe(path).model.network for path in OF_MASKS} == set(NETWORKS) - {"phantom-unet"}


def test_the_table_of_systems_names_every_recipe() -> None:
    """Who looks for a system finds how to train it."""
    table = (DOCS / "models.md").read_text(encoding="utf-8")
    assert [path.stem for path in FILES if f"(systems/{path.name})" not in table] == []
