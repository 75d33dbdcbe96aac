"""The manifest of a training that never was, for tests of what is written from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.training.data.licence import PHANTOM, Licence, inherited
from models.training.manifest import Manifest, SeedRecord

if TYPE_CHECKING:
    from models.training.recipe import Recipe
    from models.training.slice_recipe import SliceRecipe


def manifest_of(recipe: Recipe | SliceRecipe, licence: Licence = PHANTOM) -> Manifest:
    """Return a manifest of one seed, of data under one licence."""
    seed = SeedRecord(
        seed=1, step=1, steps=1, precision="float32", device="cpu", validation_dice=0.5, validation_dice_by_label={}
    )
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        ichor="0",
        commit=None,
        libraries={},
        recipe=recipe.to_plain(),
        recipe_sha256=recipe.sha256,
        parameters=1,
        licence=inherited([licence]),
        warnings=(),
        data=(),
        seeds=(seed,),
        finished_at="2026-01-01T00:00:00+00:00",
    )
