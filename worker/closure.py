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
    try:
        counted = sorted({int(str(header.get("InstanceNumber"))) for header in candidate.series.headers})
    except ValueError:
        return True  # Type 2 (PS3.3 C.7.6.1), and not always a number: the geometry has to do
    return counted[-1] - counted[0] + 1 == len(counted)
