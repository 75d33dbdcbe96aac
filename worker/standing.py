"""The results of a study that stand, and which of them a new one takes the place of.

Acquisitions of one study have a result each, side by side; only a result about the same acquisition replaces one. A
result that speaks of the study as a whole replaces every other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.result import AnalysisResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ichor.catalogue.records import ResultRow
    from worker.acquisitions import Acquisition, Span


def replaced_by(
    standing: Sequence[ResultRow], span: Span | None, *, gone: Sequence[ResultRow] = ()
) -> tuple[ResultRow, ...]:
    """Give the standing results that one about the acquisition of this span replaces, in the order given.

    Those of the same acquisition, those that speak of no acquisition, and those whose acquisition is `gone`.
    """
    if span is None:
        return tuple(standing)
    lost = {row.id for row in gone}
    return tuple(row for row in standing if row.acquired_at is None or span.holds(row.acquired_at) or row.id in lost)


def without_acquisition(
    standing: Sequence[ResultRow], acquisitions: Sequence[Acquisition], *, awaited: frozenset[str]
) -> tuple[ResultRow, ...]:
    """Give the standing results whose images left the study, or show another time now.

    `awaited` are the series that still receive: they are in no acquisition, and their results stand.
    """
    return tuple(
        row
        for row in standing
        if row.acquired_at is not None
        and not any(one.span is not None and one.span.holds(row.acquired_at) for one in acquisitions)
        and AnalysisResult.from_json(row.summary_json).series_instance_uid not in awaited
    )


def still_told(standing: Sequence[ResultRow], acquisition: Acquisition) -> bool:
    """Whether an acquisition has an analysed result that was made from what its series holds now."""
    instances = {series.series_instance_uid: len(series.headers) for series, _ in acquisition.series}
    for row in replaced_by(standing, acquisition.span):
        result = AnalysisResult.from_json(row.summary_json)
        if row.provisional:
            continue
        if result.status == "analysed" and instances.get(result.series_instance_uid or "") == result.source_instances:
            return True
    return False
