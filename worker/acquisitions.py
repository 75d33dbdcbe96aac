"""Which series of a study come from one acquisition: those that begin within ten minutes of another's end.

Reconstructions of one scan share its times; a repeat for motion follows within minutes; a follow-up comes later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.stack import ACQUISITIONS_APART

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from worker.gate import Verdict
    from worker.series import Series, Study

UNTIMED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From the first slice of an acquisition to its last, both aware."""

    begin: datetime
    end: datetime

    def holds(self, moment: datetime | None) -> bool:
        """Whether a moment lies within."""
        return moment is not None and self.begin <= moment <= self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """The series of one acquisition that the headers let pass, the best first."""

    number: int
    """From 1 in order of time; UNTIMED where no slice says when it was acquired."""
    span: Span | None
    series: tuple[tuple[Series, Verdict], ...]

    @property
    def best(self) -> Series:
        """The series that the headers rank first."""
        return self.series[0][0]


def acquisitions_of(study: Study, verdicts: Sequence[Verdict]) -> tuple[Acquisition, ...]:
    """Group the series that the headers let pass; the latest acquisition first, what has no time last."""
    by_uid = {series.series_instance_uid: series for series in study.series}
    accepted = [verdict for verdict in verdicts if verdict.accepted]
    found = []
    for number in sorted({verdict.acquisition for verdict in accepted}, reverse=True):
        series = tuple(
            (by_uid[verdict.series_instance_uid], verdict) for verdict in accepted if verdict.acquisition == number
        )
        spans = [span for one, _ in series if (span := span_of(one)) is not None]
        whole = Span(begin=min(one.begin for one in spans), end=max(one.end for one in spans)) if spans else None
        found.append(Acquisition(number=number, span=whole, series=series))
    return tuple(found)


def number_acquisitions(series: Iterable[Series]) -> Mapping[str, int]:
    """Number the acquisitions from 1 in order of time, by Series Instance UID; series without times get UNTIMED."""
    spans = [(one.series_instance_uid, span_of(one)) for one in series]
    numbers = {uid: UNTIMED for uid, span in spans if span is None}
    number, last = UNTIMED, None
    for begin, end, uid in sorted((span.begin, span.end, uid) for uid, span in spans if span is not None):
        if last is None or begin - last > ACQUISITIONS_APART:
            number += 1
        last = end if last is None else max(last, end)
        numbers[uid] = number
    return numbers


def span_of(series: Series) -> Span | None:
    """Give when the first and the last slice were acquired; None where no slice says so."""
    times = [one.acquired_at for one in series.slices if one.acquired_at is not None]
    return Span(begin=min(times), end=max(times)) if times else None
