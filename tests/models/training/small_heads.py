"""Heads of a few voxels, and a recipe that trains on them in seconds."""

from __future__ import annotations

import numpy as np

from models.training.recipe import ModelRecipe, Recipe, TrainingRecipe
from models.training.sample import Sample
from models.training.trainer import Heads

SPACING = (6.0, 3.0, 3.0)


def recipe_of(
    training: TrainingRecipe, model: ModelRecipe | None = None, *, labels: tuple[str, ...] = ("ICH",)
) -> Recipe:
    """Return a recipe for a small U-Net in float32 on one thread."""
    return Recipe(
        name="small",
        labels=labels,
        model=ModelRecipe(
            network="phantom-unet", network_parameters={"channels": [8, 16]}, spacing_zyx_mm=SPACING, patch=(4, 16, 16)
        )
        if model is None
        else model,
        training=training,
    )


def head(seed: int, *, labels: int = 1) -> Sample:
    """A ball of brain in a shell of bone, with a bright bleed of each label somewhere in it."""
    random = np.random.default_rng(seed)
    z, y, x = np.ogrid[-10:10, -24:24, -24:24]
    radius = np.sqrt((2 * z) ** 2 + y**2 + x**2)
    hu = np.where(radius < 18, 35.0, np.where(radius < 20, 900.0, -1000.0)) + random.normal(0, 2, radius.shape)
    truth = np.zeros(hu.shape, dtype=np.uint8)
    for label in range(1, labels + 1):
        at = random.integers(-6, 7, 3)
        ball = ((2 * (z - at[0] // 2)) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2) < 6**2
        truth[ball & (truth == 0)] = label
        hu[truth == label] = 50 + 15 * label
    return Sample.of(f"head-{seed}", hu.astype(np.float16), truth, np.ones(hu.shape, dtype=np.bool_))


def heads(*, training: int = 2, validation: int = 1) -> Heads:
    """Heads to train and to validate on."""
    return Heads(
        training=[head(seed) for seed in range(training)],
        validation=[head(100 + seed) for seed in range(validation)],
        digest="of small heads",
    )
