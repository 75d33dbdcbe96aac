"""Heads of a few voxels with labels by slice, and a classifier that learns them in seconds."""

from __future__ import annotations

import numpy as np

from models.training.slice_recipe import ClassifierRecipe, SliceAugmentation, SliceRecipe, SliceTraining
from models.training.slice_sample import OUTPUTS, SliceSample
from models.training.slice_trainer import SliceHeads
from tests.models.training.small_heads import SPACING, head

CLASSIFIER = ClassifierRecipe(
    spacing_zyx_mm=SPACING,
    side=48,
    hu_windows=((-20.0, 100.0), (20.0, 80.0)),
    network_parameters={"patch": 3, "window": 4, "features": 16, "depths": [2, 2], "heads": [2, 4]},
)


def recipe_of(training: SliceTraining, *, subtypes: bool = False) -> SliceRecipe:
    """Return a recipe for a classifier of three and a half thousand tokens."""
    return SliceRecipe(
        name="small-slices",
        classifier=CLASSIFIER,
        subtypes=subtypes,
        training=training,
        augmentation=SliceAugmentation(turn_deg=5, scale=0.05, shift=0.02),
    )


def labelled(seed: int, *, subtypes: bool = True, masked: bool = True) -> SliceSample:
    """A ball of brain with a ball of blood in it, an IPH on every plane that holds some of it."""
    sample = head(seed)
    blood = sample.labels_zyx > 0
    targets = np.zeros((len(blood), len(OUTPUTS)), dtype=np.float32)
    targets[blood.any(axis=(1, 2))] = [1, 0, 1, 0, 0, 0]
    if not subtypes:
        targets[:, 1:] = np.nan
    return SliceSample(
        name=sample.name,
        hu_zyx=sample.hu_zyx,
        scanned_zyx=sample.scanned_zyx,
        targets_zo=targets,
        blood_zyx=blood if masked else None,
    )


def slice_heads(*, training: int = 6, validation: int = 2, subtypes: bool = True) -> SliceHeads:
    """Heads to train on, without their masks, and to validate on."""
    validates = [labelled(100 + seed, subtypes=subtypes) for seed in range(validation)]
    return SliceHeads(
        training=[labelled(seed, subtypes=subtypes, masked=False) for seed in range(training)],
        validation=validates,
        threshold=validates,
        digest="of small heads",
    )
