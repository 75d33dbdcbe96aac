"""Turned, scaled and bent patches: labels go with their blood, and nothing is invented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.segmenter import OUTSIDE_HU
from models.training.curve import read_curve
from models.training.patches import Patches
from models.training.recipe import Augmentation, TrainingRecipe
from models.training.sample import IGNORED, Sample
from models.training.trainer import CURVE, train
from models.training.warp import Warp
from tests.models.training.small_heads import head, heads, recipe_of

NONE = Warp(rotation_deg=0, scaling=0, elastic_mm=0, spacing_zyx_mm=(6.0, 3.0, 3.0))


def test_without_change_it_is_the_patch() -> None:
    """Nothing turned, scaled or bent: the scan's own values, and air beyond it."""
    sample = head(1)
    hu, labels = NONE.cut(sample, (2, 40, 10), (4, 16, 16), np.random.default_rng(0))
    assert np.array_equal(hu[0, :, :8], sample.hu_zyx[2:6, 40:48, 10:26].astype(np.float32))
    assert np.array_equal(labels[:, :8], sample.labels_zyx[2:6, 40:48, 10:26])
    assert (hu[0, :, 8:] == OUTSIDE_HU).all()
    assert not NONE.moves


@pytest.mark.parametrize(
    "warp",
    [replace(NONE, rotation_deg=40.0), replace(NONE, scaling=0.2), replace(NONE, elastic_mm=3.0)],
    ids=("turned", "scaled", "bent"),
)
def test_labels_go_with_the_blood(warp: Warp) -> None:
    """Wherever the patch is moved, labelled voxels are as bright as blood, and what is ignored stays ignored."""
    plain = head(1)
    marks = plain.labels_zyx.copy()
    marks[:, :, :8] = IGNORED
    sample = Sample.of("ignored", plain.hu_zyx, marks, plain.scanned_zyx)
    moved = []
    for seed in range(8):
        hu, labels = warp.cut(sample, (0, 0, 0), (20, 48, 48), np.random.default_rng(seed))
        blood = labels == 1
        assert blood.sum() > 100
        assert np.median(hu[0][blood]) == pytest.approx(65, abs=2)
        assert (labels == IGNORED).sum() > 1000
        assert set(np.unique(labels)) == {0, 1, IGNORED}
        moved.append(not np.array_equal(blood, sample.labels_zyx == 1))
    assert sum(moved) >= 6


def test_what_lies_opposite_goes_along() -> None:
    """A network that compares halves sees the mirror image turned, scaled and bent like the scan."""
    sample = head(1).halved((6.0, 3.0, 3.0))
    assert sample.plane is not None
    opposite = sample.plane.mirrored(sample.hu_zyx, (6.0, 3.0, 3.0), (slice(None),) * 3)
    alone = Sample.of("opposite", opposite.astype(np.float16), sample.labels_zyx, sample.scanned_zyx)
    warp = replace(NONE, rotation_deg=20.0, scaling=0.1, elastic_mm=2.0)
    both, _ = warp.cut(sample, (3, 5, 5), (8, 32, 32), np.random.default_rng(4))
    expected, _ = warp.cut(alone, (3, 5, 5), (8, 32, 32), np.random.default_rng(4))
    assert both.shape == (2, 8, 32, 32)
    assert np.abs(both[1] - expected[0]).max() < 1


def test_angle_and_scale_are_in_millimetres() -> None:
    """On a grid of unequal spacing a turned bar keeps its length and its area in mm."""
    shape = (1, 41, 81)  # y in steps of 2 mm, x of 1 mm
    y, x = np.ogrid[-40:41:2, -40:41:1]
    hu = np.where((np.abs(y) <= 4) & (np.abs(x) <= 20), 60.0, 0.0)[None].astype(np.float16)
    sample = Sample.of("bar", hu, (hu > 50).astype(np.uint8), np.ones(shape, dtype=np.bool_))

    warp = replace(NONE, rotation_deg=90.0, spacing_zyx_mm=(5.0, 2.0, 1.0))
    chance = np.random.default_rng(0)
    found = [warp.cut(sample, (0, 0, 0), (1, 41, 81), chance)[1][0] for _ in range(60)]
    tall = max(found, key=lambda one: float(one.any(axis=1).sum()))
    assert int(tall.any(axis=1).sum()) * 2 == pytest.approx(42, abs=4)
    assert all(int(one.sum()) == pytest.approx(int(sample.labels_zyx.sum()), rel=0.12) for one in found)


def test_a_share_of_the_patches_is_warped() -> None:
    """`warped` says how many; the others are the scan's own values, to the last bit."""
    sample = replace(head(1), labels_zyx=np.zeros_like(head(1).labels_zyx), places={})
    still = Augmentation(mirror=0, contrast=0, brightness_hu=0, noise_hu=0, rotation_deg=20)
    recipe = replace(recipe_of(TrainingRecipe(batch=200)), augmentation=replace(still, warped=0.3))
    patches = Patches.of(recipe)
    # scaled to [-1, 1] from -20 to 120 HU, as in service
    own = np.unique(patches.preparation.tensor(sample.hu_zyx.astype(np.float32)).numpy())
    images, _ = patches.draw([sample], np.random.default_rng(2))
    warped = sum(not np.isin(image.numpy(), own).all() for image in images)
    assert 0.2 < warped / len(images) < 0.4


def test_a_warped_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Its chance follows from the step too: interrupted, it takes the same course."""
    how = TrainingRecipe(steps=8, validate_every=4, checkpoint_every=2, precision="float32", threads=1)
    recipe = replace(recipe_of(how), augmentation=Augmentation(rotation_deg=15, scaling=0.1, elastic_mm=2))
    straight = train(recipe, 1, heads(), tmp_path / "straight")

    def stop(fraction: float) -> None:
        if fraction >= 5 / 8:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, 1, heads(), tmp_path / "broken", on_progress=stop)
    resumed = train(recipe, 1, heads(), tmp_path / "broken")
    assert read_curve(tmp_path / "broken" / CURVE) == read_curve(tmp_path / "straight" / CURVE)
    assert resumed.score == straight.score
