"""How well a model does on held-out phantoms: the few figures of its model card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.phantoms.truth import LABELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

HAEMORRHAGE = tuple(value for name, value in LABELS.items() if name != "oedema")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFigures:
    """One held-out head; Dice is None where neither truth nor answer has the label."""

    truth_ml: float  # any haemorrhage
    answer_ml: float
    dice: float | None  # any haemorrhage
    dice_by_label: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All held-out heads together."""

    cases: int
    lesion_free: int
    mean_dice: float  # any haemorrhage, heads with a bleed
    least_dice: float
    mean_dice_by_label: dict[str, float]  # heads that truly hold the label
    median_volume_error: float  # |answer - truth| / truth, heads with 5 mL or more
    mean_false_ml: float  # lesion-free heads
    most_false_ml: float


def compare(answer: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], voxel_ml: float) -> CaseFigures:
    """Compare two label volumes of one shape."""
    said, true = np.isin(answer, HAEMORRHAGE), np.isin(truth, HAEMORRHAGE)
    return CaseFigures(
        truth_ml=float(true.sum()) * voxel_ml,
        answer_ml=float(said.sum()) * voxel_ml,
        dice=_dice(said, true),
        dice_by_label={
            name: _dice(answer == value, truth == value) if (truth == value).any() else None
            for name, value in LABELS.items()
        },
    )


def summarise(cases: Sequence[CaseFigures]) -> Figures:
    """Sum up; there must be heads with and without a bleed."""
    bled = [case for case in cases if case.truth_ml > 0]
    free = [case for case in cases if case.truth_ml == 0]
    dice = [case.dice for case in bled if case.dice is not None]
    by_label = {name: [value for case in cases if (value := case.dice_by_label[name]) is not None] for name in LABELS}
    errors = [abs(case.answer_ml - case.truth_ml) / case.truth_ml for case in bled if case.truth_ml >= 5]
    return Figures(
        cases=len(cases),
        lesion_free=len(free),
        mean_dice=float(np.mean(dice)),
        least_dice=float(np.min(dice)),
        mean_dice_by_label={name: float(np.mean(values)) for name, values in by_label.items() if values},
        median_volume_error=float(np.median(errors)),
        mean_false_ml=float(np.mean([case.answer_ml for case in free])),
        most_false_ml=float(np.max([case.answer_ml for case in free])),
    )


def _dice(said: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> float | None:
    both = int(said.sum()) + int(true.sum())
    return 2 * int((said & true).sum()) / both if both else None
