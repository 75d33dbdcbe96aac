"""Which slices are shown: where most is marked, and enough others to see its extent; evenly through a head without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from worker.findings import Finding

MARKED_SLICES = 6
UNMARKED_SLICES = 8
FEWEST = 4


def key_slices(labels_kji: npt.NDArray[np.uint8] | None, findings: Sequence[Finding], count: int) -> tuple[int, ...]:
    """Choose slices by k, ascending, of a volume of `count` slices.

    The largest area of every finding comes first, haemorrhage before the rest, larger before smaller; then slices
    spread evenly over what is marked, then the neighbours.
    """
    if labels_kji is None or not findings:
        return _evenly(np.arange(count), UNMARKED_SLICES, skip=0.12)
    ranked = sorted(findings, key=lambda found: (not found.haemorrhage, -found.volume_ml))
    chosen = list(dict.fromkeys(found.key_slice for found in ranked))[:MARKED_SLICES]
    bleeding = [found.index for found in findings if found.haemorrhage] or [found.index for found in findings]
    marked = np.flatnonzero(np.any([(labels_kji == index).any(axis=(1, 2)) for index in bleeding], axis=0))
    wanted = FEWEST if marked.size <= FEWEST else MARKED_SLICES
    candidates = [*_evenly(marked, wanted), *marked.tolist(), *_neighbours(marked, count)]
    for k in candidates:
        if len(chosen) >= wanted:
            break
        if k not in chosen:
            chosen.append(k)
    return tuple(sorted(chosen))


def _evenly(ks: npt.NDArray[np.intp], number: int, *, skip: float = 0.0) -> tuple[int, ...]:
    """Pick a number of values evenly, leaving a share out at both ends."""
    if ks.size <= number:
        return tuple(int(k) for k in ks)
    places = np.linspace(skip * (ks.size - 1), (1 - skip) * (ks.size - 1), number)
    return tuple(dict.fromkeys(int(ks[round(place)]) for place in places))


def _neighbours(marked: npt.NDArray[np.intp], count: int) -> list[int]:
    """List the slices outside the marked range, the nearest first."""
    low, high = (int(marked[0]), int(marked[-1])) if marked.size else (count // 2, count // 2)
    outside = [k for k in range(count) if not low <= k <= high]
    return sorted(outside, key=lambda k: min(abs(k - low), abs(k - high)))
