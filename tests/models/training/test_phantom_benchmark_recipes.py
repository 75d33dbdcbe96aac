"""The recipes of the phantom table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from models.networks.catalogue import build
from models.training.recipe import Recipe, load_recipe
from models.training.spec import network_parameters

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "phantom-benchmark"


def recipes() -> list[Recipe]:
    return [load_recipe(path) for path in sorted(FOLDER.glob("*.toml"))]


def test_one_budget_for_all() -> None:
    """Six systems at least, which differ in name and network and in nothing else."""
    found = recipes()
    assert len({recipe.model.network for recipe in found}) >= 6
    alike = {
        replace(recipe, name="any", model=replace(recipe.model, network="any", network_parameters={})).sha256
        for recipe in found
    }
    assert len(alike) == 1


def test_every_network_takes_the_patch() -> None:
    """Each answers with one channel for each label and background, on the patch and on the window in service."""
    for recipe in recipes():
        network = build(recipe.model.network, network_parameters(recipe)).eval()
        window = recipe.model.patch if recipe.model.window is None else recipe.model.window
        for sides in (recipe.model.patch, window):
            with torch.inference_mode():
                answer = network(torch.zeros(1, 1, *sides))
            assert tuple(answer.shape) == (1, len(recipe.labels) + 1, *sides)
