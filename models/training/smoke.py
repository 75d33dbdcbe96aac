"""A recipe at the size of a smoke test: whether it runs from end to end, on this machine and with these data.

The network, what it sees and the loss are the recipe's own; scans, steps, seeds and patches at once are as few as can
be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from models.training.recipe import Recipe
    from models.training.slice_recipe import SliceRecipe

Kind = TypeVar("Kind", "Recipe", "SliceRecipe")

STEPS = 2
SCANS = 2  # of each data set, to train on and to validate on
_STRANGERS = 2  # a contrastive pre-training needs another patch beside


def smoke_test_of(recipe: Recipe) -> Recipe:
    """Return the recipe for a few steps on a few scans, under a name of its own."""
    small, before = _few_of(recipe), recipe.pretraining
    return replace(
        small,
        training=replace(small.training, accumulate=1, patience=0),
        pretraining=None if before is None else replace(before, steps=STEPS, batch=_STRANGERS),
    )


def smoke_test_of_slices(recipe: SliceRecipe) -> SliceRecipe:
    """Return the recipe for slice labels for a few steps on a few scans, under a name of its own."""
    return _few_of(recipe)


def _few_of(recipe: Kind) -> Kind:
    """Return what both kinds of recipe have in common at that size."""
    return replace(
        recipe,
        name=f"{recipe.name}-smoke",
        title=f"{recipe.name}, smoke test of {STEPS} steps: it has learnt nothing",
        seeds=recipe.seeds[:1],
        split=replace(recipe.split, most_scans=SCANS),
        training=replace(recipe.training, steps=STEPS, validate_every=STEPS, batch=1),
    )
