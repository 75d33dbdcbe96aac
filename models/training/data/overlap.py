"""Data sets that show the same patients: BHSD, MBH-Seg and RSNA 2019 on one side, CQ500, Seg-CQ500 and BHX on another.

To train on one and test on another of them is a leak, and is refused unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from models.training.data.case import BadDataSet

if TYPE_CHECKING:
    from models.training.data.case import DataSet


class DataOverlap(BadDataSet):
    """Two data sets show the same patients."""

    code = "data_overlap"


def refuse_overlaps(data: Sequence[DataSet], *, allowed: bool = False) -> tuple[str, ...]:
    """Raise DataOverlap where two sets share their origin or a patient; where allowed, return the warnings instead."""
    warnings = []
    for one, other in combinations(data, 2):
        shared = {case.patient for case in one.cases} & {case.patient for case in other.cases}
        if shared:
            warnings.append(f"{one.name} and {other.name} share {len(shared)} patients, such as {min(shared)}.")
        elif one.origin == other.origin:
            warnings.append(
                f"{one.name} and {other.name} both come from {one.origin}: their patients may be the same ones."
            )
    if warnings and not allowed:
        raise DataOverlap(" ".join(warnings))
    return tuple(warnings)
