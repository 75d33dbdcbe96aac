"""Which kind of bleed was taken for which, voxel by voxel and scan by scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.evaluation.label_map import ANY, ComparedClass

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.evaluation.grid import MaskGrid

BACKGROUND = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Millilitres of every true class (rows) that were marked as every class (columns); the first is no haemorrhage.

    Truly empty voxels that were left empty are not counted: they would drown everything else.
    """

    classes: tuple[str, ...]
    millilitres: tuple[tuple[float, ...], ...]

    def recall(self, name: str) -> float | None:
        """Return the share of a class's blood that was marked as that class; None where there is none."""
        row = self.millilitres[self.classes.index(name)]
        return row[self.classes.index(name)] / sum(row) if sum(row) > 0 else None


def confusion_of(
    answer: npt.NDArray[np.integer],
    truth: npt.NDArray[np.integer],
    classes: Sequence[ComparedClass],
    *,
    grid: MaskGrid,
) -> Confusion:
    """Count one scan; classes that overlap others ("any", and EAH beside its parts) are left out."""
    single = finest(classes)
    said, true = np.zeros(answer.shape, dtype=np.intp), np.zeros(truth.shape, dtype=np.intp)
    for number, one in enumerate(single, start=1):
        said[np.isin(answer, list(one.answer_values))] = number
        true[np.isin(truth, list(one.truth_values))] = number
    size = len(single) + 1
    volumes_ml = grid.volumes_ml(true * size + said, size * size - 1).reshape(size, size)
    volumes_ml[0, 0] = 0
    return Confusion(
        classes=(BACKGROUND, *(one.name for one in single)),
        millilitres=tuple(tuple(float(value) for value in row) for row in volumes_ml),
    )


def finest(classes: Sequence[ComparedClass]) -> tuple[ComparedClass, ...]:
    """Return the classes whose values hold no other class's; "any" only where there is nothing else."""
    if len(classes) == 1:
        return tuple(classes)
    return tuple(
        one
        for one in classes
        if one.name != ANY and not any(other.truth_values < one.truth_values for other in classes)
    )


def add_confusions(parts: Iterable[Confusion]) -> Confusion | None:
    """Add up scans of the same classes; None for none."""
    every = list(parts)
    if not every:
        return None
    total = np.sum([one.millilitres for one in every], axis=0)
    return Confusion(classes=every[0].classes, millilitres=tuple(tuple(float(v) for v in row) for row in total))
