"""Overlap of two masks: Dice and Jaccard, with both conventions for scans without blood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Empty = Literal["one", "none"]
"""What Dice is where neither mask holds anything: 1, as INSTANCE 2022 counts, or nothing at all (MONAI's default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Voxels of two masks; counts of several scans add up, for pooled figures."""

    both: int
    truth_only: int
    answer_only: int

    def __add__(self, other: Overlap) -> Overlap:
        """Pool two scans."""
        return Overlap(
            both=self.both + other.both,
            truth_only=self.truth_only + other.truth_only,
            answer_only=self.answer_only + other.answer_only,
        )

    @property
    def empty(self) -> bool:
        """Whether neither mask holds anything."""
        return self.both + self.truth_only + self.answer_only == 0

    @overload
    def dice(self, *, empty: Literal["one"]) -> float: ...
    @overload
    def dice(self, *, empty: Literal["none"]) -> float | None: ...
    def dice(self, *, empty: Empty) -> float | None:
        """Return twice what both hold over the sum of what each holds."""
        if self.empty:
            return 1.0 if empty == "one" else None
        return 2 * self.both / (2 * self.both + self.truth_only + self.answer_only)

    @overload
    def iou(self, *, empty: Literal["one"]) -> float: ...
    @overload
    def iou(self, *, empty: Literal["none"]) -> float | None: ...
    def iou(self, *, empty: Empty) -> float | None:
        """Return what both hold over what either holds (Jaccard)."""
        if self.empty:
            return 1.0 if empty == "one" else None
        return self.both / (self.both + self.truth_only + self.answer_only)


def overlap_of(answer: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Overlap:
    """Count the overlap of two masks of one shape."""
    both = int(np.count_nonzero(answer & truth))
    return Overlap(
        both=both,
        truth_only=int(np.count_nonzero(truth)) - both,
        answer_only=int(np.count_nonzero(answer)) - both,
    )


def mean_iou(per_class: Iterable[Overlap], *, background: Overlap | None = None) -> float | None:
    """Average the classes' Jaccard, those in neither mask left out; None where none is left.

    Many papers average the background in, which lifts the figure: it counts here only where it is given.
    """
    counted = [*per_class, *([] if background is None else [background])]
    values = [value for one in counted if (value := one.iou(empty="none")) is not None]
    return float(np.mean(values)) if values else None
