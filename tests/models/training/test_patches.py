"""Where patches lie."""

from __future__ import annotations

import numpy as np

from models.training.patches import Patches
from models.training.recipe import TrainingRecipe
from models.training.sample import Sample
from tests.models.training.small_heads import recipe_of

SIDE = 40  # voxels of a scan along each axis


def test_the_ends_of_a_scan_are_seen_about_as_often_as_its_middle() -> None:
    """Laid anywhere, patches hold the lowest slice a third as often as the middle one, or oftener: not a tenth."""
    recipe = recipe_of(TrainingRecipe(on_lesion=0.0))
    patches = Patches.of(recipe)
    shape = (SIDE, SIDE, SIDE)
    sample = Sample.of("a", np.zeros(shape, np.float16), np.zeros(shape, np.uint8), np.ones(shape, np.bool_))
    random = np.random.default_rng(1)
    corners = np.array([patches.corner(sample, random) for _ in range(2000)])
    for axis, size in enumerate(patches.sides_zyx):
        starts = corners[:, axis]
        assert starts.min() >= 0
        assert starts.max() + size <= SIDE
        holds = [np.mean((starts <= place) & (place < starts + size)) for place in (0, SIDE // 2, SIDE - 1)]
        assert min(holds[0], holds[2]) > holds[1] / 3
