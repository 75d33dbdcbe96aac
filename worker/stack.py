"""Slices into one stack: one orientation, sorted along the normal, duplicates set aside, gaps found.

Works on headers alone, so that the gate can say what is wrong before a pixel is read. Positions are projected on the
plane normal; ImagePositionPatient decides, never SliceLocation, InstanceNumber, SliceThickness or the table step.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ichor.errors import NotAnalysable
from worker.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from worker.slices import Cosine, Slice

SAME_PLACE_MM = 0.01  # DS writes positions to 1e-4 mm and better; scanners do not step this finely
STRAYS_ALLOWED = 0.1  # share of slices in another plane (an embedded scout) that may be left out
REPEAT_SHARE = 0.25  # above this share of doubled positions the series holds several acquisitions, not stray copies
ACQUISITIONS_APART = timedelta(minutes=10)
_UNKNOWN_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Slices of equal orientation, size and spacing, ascending along the normal at distinct positions."""

    slices: tuple[Slice, ...]
    row_cosine: Cosine
    column_cosine: Cosine
    normal: Cosine
    offsets_mm: npt.NDArray[np.float64]
    shares_mm: npt.NDArray[np.float64]
    missing: int
    """Slices that seem to be missing between others."""
    warnings: tuple[Reason, ...]

    @property
    def gaps_mm(self) -> npt.NDArray[np.float64]:
        """(K-1,) distances between neighbouring slices along the normal."""
        return np.diff(self.offsets_mm)

    @property
    def extent_mm(self) -> float:
        """Distance that the slices stand for, half shares at both ends included."""
        return float(self.shares_mm.sum())


def stack_slices(slices: Sequence[Slice]) -> Stack:
    """Sort slices into a stack; raise NotAnalysable where they do not form one. The order given is of no matter."""
    if not slices:
        raise NotAnalysable("no_geometry", "no slice states its position, orientation and pixel spacing")
    warnings: list[Reason] = []
    ordered = sorted(slices, key=_age_then_name)
    plane, strays = _one_plane(ordered)
    if strays:
        warnings.append(
            Reason(code="slices_left_out", text=f"{strays} of {len(ordered)} slices lie in another plane; left out")
        )
    row_cosine, column_cosine = plane[0].row_cosine, plane[0].column_cosine
    normal = normal_of(row_cosine, column_cosine)
    distinct = _distinct(plane, normal, warnings)
    if len(distinct) < 2:
        raise NotAnalysable("single_slice", "only one slice; a volume needs at least two")
    offsets = np.array([project(one, normal) for one in distinct])
    missing = _missing(np.diff(offsets))
    if missing:
        warnings.append(
            Reason(code="missing_slices", text=f"about {missing} slices seem to be missing; volumes differ")
        )
    return Stack(
        slices=tuple(distinct),
        row_cosine=row_cosine,
        column_cosine=column_cosine,
        normal=normal,
        offsets_mm=offsets,
        shares_mm=shares(offsets),
        missing=missing,
        warnings=tuple(warnings),
    )


def normal_of(row_cosine: Cosine, column_cosine: Cosine) -> Cosine:
    """Give the unit normal of a plane, turned so that its largest component is positive (towards the head, if axial).

    Raises NotAnalysable where the cosines are not orthogonal (PS3.3 C.7.6.2.1.1 wants them so).
    """
    cross = np.cross(row_cosine, column_cosine)
    length = float(np.linalg.norm(cross))
    if length < 0.9999 or abs(float(np.dot(row_cosine, column_cosine))) > 1e-2:
        raise NotAnalysable("bad_orientation", "rows and columns of the slices are not at right angles")
    # Rounded, so that an exactly diagonal plane does not turn on the last bit.
    sign = 1.0 if cross[int(np.argmax(np.round(np.abs(cross), 6)))] > 0 else -1.0
    x, y, z = (float(part) * sign / length for part in cross)
    return x, y, z


def project(one: Slice, normal: Cosine) -> float:
    """Give a slice's position along the normal in mm."""
    return math.fsum(p * n for p, n in zip(one.position_lps_mm, normal, strict=True))


def shares(offsets_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give each slice half the gap to either neighbour; end slices mirror their only gap."""
    gaps = np.diff(offsets_mm)
    own: npt.NDArray[np.float64] = (np.concatenate([gaps[:1], gaps]) + np.concatenate([gaps, gaps[-1:]])) / 2.0
    return own


def _age_then_name(one: Slice) -> tuple[datetime, str, int]:
    when = _UNKNOWN_TIME if one.acquired_at is None else one.acquired_at
    return when, one.sop_instance_uid, -1 if one.frame is None else one.frame


def _one_plane(ordered: Sequence[Slice]) -> tuple[list[Slice], int]:
    """Give the slices that share the commonest orientation, size and spacing, and how many do not."""
    keys = [_plane_key(one) for one in ordered]
    (commonest, count), *_ = sorted(Counter(keys).items(), key=lambda item: (-item[1], item[0]))
    strays = len(keys) - count
    if strays > STRAYS_ALLOWED * len(keys):
        raise NotAnalysable("mixed_geometry", "slices of several orientations, sizes or pixel spacings in one series")
    return [one for one, key in zip(ordered, keys, strict=True) if key == commonest], strays


def _plane_key(one: Slice) -> tuple[float, ...]:
    """Round to what moves the far corner of a 250 mm field by less than a tenth of a millimetre."""
    cosines = (round(part, 3) + 0.0 for part in (*one.row_cosine, *one.column_cosine))
    return (*cosines, round(one.row_spacing_mm, 4), round(one.column_spacing_mm, 4), one.rows, one.columns)


def _distinct(plane: list[Slice], normal: Cosine, warnings: list[Reason]) -> list[Slice]:
    """Sort along the normal and keep one slice per position: the earliest, or the last acquisition of several."""
    kept = _at_own_places(plane, normal)
    doubled = len(plane) - len(kept)
    if doubled > REPEAT_SHARE * len(kept):
        runs = [_at_own_places(run, normal) for run in _acquisitions(plane)]
        most = max(map(len, runs))
        # The later of equally long runs: a repeat is made because the first was spoilt.
        kept = [run for run in runs if len(run) == most][-1]
        text = f"several acquisitions in one series; the one of {most} slices that came last was used"
        if len(runs) == 1:
            text = f"{doubled} slices lie where another one lies; the first of each was used"
        warnings.append(Reason(code="several_acquisitions" if len(runs) > 1 else "duplicate_slices", text=text))
    elif doubled:
        text = f"{doubled} slices lie where another one lies; the first of each was used"
        warnings.append(Reason(code="duplicate_slices", text=text))
    return kept


def _at_own_places(plane: Sequence[Slice], normal: Cosine) -> list[Slice]:
    placed = sorted(((project(one, normal), rank) for rank, one in enumerate(plane)), key=lambda pair: pair[0])
    kept: list[tuple[float, int]] = []
    for offset, rank in placed:
        if kept and offset - kept[-1][0] <= SAME_PLACE_MM:
            kept[-1] = (kept[-1][0], min(kept[-1][1], rank))
        else:
            kept.append((offset, rank))
    return [plane[rank] for _, rank in kept]


def _acquisitions(plane: Sequence[Slice]) -> list[list[Slice]]:
    """Split slices, sorted by time, wherever more than ACQUISITIONS_APART passed."""
    runs: list[list[Slice]] = []
    last: datetime | None = None
    for one in plane:
        when = _UNKNOWN_TIME if one.acquired_at is None else one.acquired_at
        if last is None or when - last > ACQUISITIONS_APART:
            runs.append([])
        runs[-1].append(one)
        last = when
    return runs


def _missing(gaps: npt.NDArray[np.float64]) -> int:
    """Count slices that are missing: a gap that is a multiple of both neighbouring gaps, which are alike."""
    missing = 0
    for k, gap in enumerate(gaps):
        around = [float(gaps[n]) for n in (k - 2, k - 1, k + 1, k + 2) if 0 <= n < len(gaps)]
        if len(around) < 2:
            continue
        usual = float(np.median(around))
        # At a change of thickness one side has the larger step already: that is a plan, not a loss.
        if gap > 1.6 * usual and gap > 1.3 * max(around):
            missing += round(float(gap) / usual) - 1
    return missing
