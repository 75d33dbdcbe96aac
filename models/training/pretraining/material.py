"""What a pre-training sees: scans without masks, and where it needs them, what is on each slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.spec import LabelSpec
    from models.training.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Scans; `marks_zc` are of the same scans: any haemorrhage, then each haemorrhage label, by slice of the grid."""

    samples: Sequence[Sample]
    marks_zc: Sequence[npt.NDArray[np.bool_]]  # empty where no slice is labelled
    digest: str


def marks_of(sample: Sample, labels: Sequence[LabelSpec]) -> npt.NDArray[np.bool_]:
    """Return what a mask says of its slices, (z, 1 + haemorrhage labels)."""
    blood = [label.index for label in labels if label.haemorrhage]
    found = np.stack([(sample.labels_zyx == index).any(axis=(1, 2)) for index in blood], axis=1)
    return np.concatenate([found.any(axis=1, keepdims=True), found], axis=1)
