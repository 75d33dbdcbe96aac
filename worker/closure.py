"""Does a series that has not settled look complete? Asked before an early look is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.analysis import Candidate

LEFT_OPEN = frozenset({"missing_slices"})


def looks_closed(candidate: Candidate) -> bool:
    """Whether the slices reach over the whole head, with none missing between them or in their numbers."""
    if not candidate.content.coverage.whole_head:
        return False
    if any(warning.code in LEFT_OPEN for warning in candidate.warnings):
        return False
    numbers = {header.get("InstanceNumber") for header in candidate.series.headers}
    if None in numbers:
        return True  # Type 2 (PS3.3 C.7.6.1): the geometry has to do
    counted = sorted(int(number) for number in numbers)
    return counted[-1] - counted[0] + 1 == len(counted)
