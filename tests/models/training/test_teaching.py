"""Pseudo-labels by the published thresholds, and slices by rank; what is in doubt is ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from models.training.recipe import DataRecipe, TeacherRecipe
from models.training.sample import IGNORED, Sample
from models.training.teaching import Taught, keep_top, pseudo_labels, slice_scores

HOW = TeacherRecipe(model="teacher", data=(DataRecipe(path=Path("x")),))


def said(*voxels: tuple[float, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return probabilities (c, 1, 1, x), background what is left."""
    columns = np.array([(1 - sum(one), *one) for one in voxels], dtype=np.float32)
    return columns.T[:, None, None, :]


def test_thresholds_by_hand() -> None:
    """Above 0.7 blood, below 0.3 background, ignored between, and on the thresholds themselves."""
    labels = pseudo_labels(said((0.71,), (0.70,), (0.5,), (0.30,), (0.29,), (0.0,)), [1], HOW)
    assert labels[0, 0].tolist() == [1, IGNORED, IGNORED, IGNORED, 0, 0]


def test_types_are_blood_together() -> None:
    """Two types that share a voxel's probability are blood, of the likelier type; oedema stands by itself."""
    voxels = [(0.4, 0.35, 0.0), (0.4, 0.2, 0.0), (0.1, 0.1, 0.75), (0.0, 0.35, 0.6), (0.1, 0.1, 0.5), (0.1, 0.1, 0.2)]
    labels = pseudo_labels(said(*voxels), [1, 2], HOW)
    assert labels[0, 0].tolist() == [1, IGNORED, 3, IGNORED, IGNORED, 0]


def scan(name: str, scores: list[float]) -> Taught:
    shape = (len(scores), 4, 4)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[:, 1, 1] = 1
    sample = Sample.of(name, np.zeros(shape, dtype=np.float16), labels, np.ones(shape, dtype=np.bool_))
    return Taught(sample=sample, scores_z=np.array(scores, dtype=np.float32))


def test_the_top_tenth_of_all_slices_is_kept() -> None:
    """Of 20 slices of three scans the two likeliest teach; the others are ignored, scans without one dropped."""
    taught = [
        scan("one", [0.1, 0.2, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        scan("none", [0.5, 0.5]),
        scan("two", [0, 0, 0, 0, 0, 0, 0, 0.8]),
    ]
    kept = keep_top(taught, 0.1, depth=2)
    assert [one.name for one in kept] == ["one", "two"]
    assert [one.labels_zyx.shape[0] for one in kept] == [5, 3]
    for one, place in zip(kept, (2, 2), strict=True):
        assert set(np.unique(one.labels_zyx[place])) == {0, 1}
        others = np.delete(one.labels_zyx, place, axis=0)
        assert (others == IGNORED).all()
        assert one.places[1].tolist() == [[place, 1, 1]]
    assert keep_top([], 0.1, depth=2) == ()


def test_one_voxel_does_not_rank_a_slice() -> None:
    """A slice is scored by the mean of its ten highest probabilities."""
    blood = np.zeros((2, 10, 10), dtype=np.float32)
    blood[0, 0, 0], blood[1, :2, :5] = 1.0, 0.5
    assert slice_scores(blood) == pytest.approx([0.1, 0.5])


@pytest.mark.parametrize("limits", [{"above": 0.4}, {"below": 0.6}, {"top_share": 0}])
def test_impossible_limits_are_refused(limits: dict[str, float]) -> None:
    """No voxel can be blood and background at once, and something has to be kept."""
    with pytest.raises(ValueError, match=next(iter(limits))):
        TypeAdapter(TeacherRecipe).validate_python({"model": "t", "data": [{"path": "x"}], **limits})
