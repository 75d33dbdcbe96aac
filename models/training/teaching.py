"""Pseudo-labels of a teacher: Noisy Student, as Lin and Yuh (arXiv 2105.00582; Radiol AI 2024) publish it.

A voxel with a probability above 0.7 is blood, with less than 0.3 background, and what lies between is ignored. Of all
images, here slices, a ranker keeps the tenth that most likely shows blood; here by the mean of a slice's ten highest
probabilities, so that no single voxel decides. What is not kept is ignored too, and never taught as healthy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.training.sample import IGNORED, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.training.recipe import TeacherRecipe

_HIGHEST = 10  # voxels of a slice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taught:
    """A scan with a teacher's labels, before slices are chosen."""

    sample: Sample
    scores_z: npt.NDArray[np.float32]  # how likely each slice shows blood


def pseudo_labels(
    probabilities_czyx: npt.NDArray[np.float32], blood: Sequence[int], how: TeacherRecipe
) -> npt.NDArray[np.uint8]:
    """Return labels (z, y, x) of the student's channels, 0 or IGNORED.

    Blood is of any type together, and takes the likeliest type; other labels, such as oedema, each have to pass by
    themselves, and never stand where blood is likely enough to be in doubt.
    """
    any_blood = probabilities_czyx[list(blood)].sum(axis=0)
    labels = np.full(any_blood.shape, IGNORED, dtype=np.uint8)
    others = [channel for channel in range(1, len(probabilities_czyx)) if channel not in blood]
    unlikely = any_blood < how.below
    for channel in others:
        unlikely &= probabilities_czyx[channel] < how.below
    labels[unlikely] = 0
    for channel in others:
        labels[(probabilities_czyx[channel] > how.above) & (any_blood < how.below)] = channel
    types = np.array(blood, dtype=np.uint8)[probabilities_czyx[list(blood)].argmax(axis=0)]
    sure = any_blood > how.above
    labels[sure] = types[sure]
    return labels


def slice_scores(any_blood_zyx: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return how likely each slice shows blood."""
    flat = any_blood_zyx.reshape(len(any_blood_zyx), -1)
    count = min(_HIGHEST, flat.shape[1])
    highest: npt.NDArray[np.float32] = np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1)
    return highest


def keep_top(taught: Sequence[Taught], share: float, *, depth: int) -> tuple[Sample, ...]:
    """Return the scans that hold a kept slice; every other slice is ignored, and cut off where it is far from one.

    `depth` slices of context stay on either side. Of all slices together the share is kept, one at least.
    """
    scores = np.concatenate([one.scores_z for one in taught]) if taught else np.empty(0, dtype=np.float32)
    if not len(scores):
        return ()
    count = max(1, round(share * len(scores)))
    chosen = np.zeros(len(scores), dtype=np.bool_)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    kept, start = [], 0
    for one in taught:
        mine = chosen[start : start + len(one.scores_z)]
        start += len(one.scores_z)
        found = np.flatnonzero(mine)
        if not len(found):
            continue
        planes = slice(max(0, int(found[0]) - depth), int(found[-1]) + 1 + depth)
        labels = np.where(mine[:, None, None], one.sample.labels_zyx, np.uint8(IGNORED))[planes]
        kept.append(Sample.of(one.sample.name, one.sample.hu_zyx[planes], labels, one.sample.scanned_zyx[planes]))
    return tuple(kept)
