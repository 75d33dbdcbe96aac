"""The threshold of a map, chosen on validation scans: the one with the best Dice of all their voxels together.

It is the only thing that a mask teaches here, and no test scan has a say in it. (HGI-SAM's own was searched on the
scans that it was then tested on; that is not done here.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ichor.errors import PermanentError
from models.engines.memory import ladder
from models.engines.slice_maps import head_maps
from models.training.slice_batches import view_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from models.networks.attention_maps import MapKind
    from models.networks.swin_classifier import SwinClassifier
    from models.training.slice_recipe import SliceRecipe
    from models.training.slice_sample import SliceSample

CANDIDATES = np.concatenate([np.geomspace(1e-4, 0.1, 100, endpoint=False), np.linspace(0.1, 1, 180, endpoint=False)])
"""Thresholds that are tried: a product of maps is small nearly everywhere, GradCAM's is large."""


class NoMaskToValidate(PermanentError):
    """No validation scan has a mask, so that no threshold can be chosen."""

    code = "no_mask_to_validate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenThreshold:
    """A threshold, and the Dice that it was chosen by."""

    value: float
    dice: float
    scans: int


def choose_thresholds(
    recipe: SliceRecipe, classifiers: Sequence[SwinClassifier], samples: Sequence[SliceSample], kinds: Sequence[MapKind]
) -> Mapping[MapKind, ChosenThreshold]:
    """Choose each map's threshold over the validation scans with a mask; one threshold for all members.

    Raises NoMaskToValidate where there is none.
    """
    masked = [(sample, np.asarray(sample.blood_zyx)) for sample in samples if sample.blood_zyx is not None]
    if not masked:
        raise NoMaskToValidate
    view = view_of(recipe)
    blood = {kind: np.zeros(len(CANDIDATES)) for kind in kinds}  # voxels by value of the map
    other = {kind: np.zeros(len(CANDIDATES)) for kind in kinds}
    truth = 0
    for classifier in classifiers:
        rung = ladder(next(classifier.parameters()).device, batch=16, shrinks=())[0]
        for sample, true in masked:
            found = head_maps(classifier, view, sample.grid(recipe.classifier.spacing_zyx_mm), kinds, rung)
            truth += int(np.count_nonzero(true))
            for kind in kinds:
                blood[kind] += _by_value(found.maps[kind][true])
                other[kind] += _by_value(found.maps[kind][~true])
    return {kind: _best(blood[kind], other[kind], truth, len(masked)) for kind in kinds}


def _by_value(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.histogram(values, bins=[*CANDIDATES, 1.0])[0]
    return counts


def _best(blood: npt.NDArray[np.float64], other: npt.NDArray[np.float64], truth: int, scans: int) -> ChosenThreshold:
    """Return the best candidate: marked is what lies in its bin and above."""
    both, marked = np.cumsum(blood[::-1])[::-1], np.cumsum((blood + other)[::-1])[::-1]
    dice = 2 * both / np.maximum(marked + truth, 1)
    at = int(dice.argmax())
    return ChosenThreshold(value=float(CANDIDATES[at]), dice=float(dice[at]), scans=scans)
