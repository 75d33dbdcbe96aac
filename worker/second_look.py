"""Series that the headers let pass, read and judged by their voxels; the fittest of them is taken.

The latest acquisition comes first, for it shows how the patient is now. A whole head without motion is preferred to any
other; what else was fit and is not analysed is said in a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ichor.errors import NotAnalysable
from worker.acquisitions import span_of
from worker.content import judge_content
from worker.reason import Reason
from worker.registration import OTHER_NAME, registration_of
from worker.volume import read_volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.content import Content
    from worker.gate import Verdict
    from worker.gate_rules import GateRules
    from worker.series import Series
    from worker.volume import Volume

SECOND_CHOICE = frozenset({"partial_head", "motion"})
"""Warnings for which another fit series is looked at first."""
SAME_PART = 0.5  # of the shorter one's extent: series that share more show the same part of the head


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One series after the second look; without reasons it is fit, and volume and content are there."""

    series: Series
    verdict: Verdict
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    volume: Volume | None = None
    content: Content | None = None

    @property
    def fit(self) -> bool:
        """Whether the series can be analysed."""
        return not self.reasons

    @property
    def second_choice(self) -> bool:
        """Whether another fit series would be better."""
        return any(warning.code in SECOND_CHOICE for warning in self.warnings)


def look_at(series: Series, verdict: Verdict, rules: GateRules) -> Look:
    """Read and judge one series; what the headers refused is not read."""
    if not verdict.accepted:
        return Look(series=series, verdict=verdict, reasons=verdict.reasons, warnings=verdict.warnings)
    try:
        volume = read_volume(series)
    except NotAnalysable as error:
        reasons = (Reason(code=error.code, text=error.text),)
        return Look(series=series, verdict=verdict, reasons=reasons, warnings=verdict.warnings)
    content = judge_content(volume, rules, soft_kernel=verdict.soft_kernel)
    if content.reasons:
        return Look(series=series, verdict=verdict, reasons=content.reasons, warnings=verdict.warnings)
    return Look(
        series=series,
        verdict=verdict,
        reasons=(),
        warnings=tuple(dict.fromkeys((*verdict.warnings, *volume.warnings, *content.warnings))),
        volume=volume,
        content=content,
    )


def choose(looks: Iterable[Look]) -> tuple[Look | None, tuple[Look, ...]]:
    """Take the first look that is fit and no second choice, else the first that is fit; give it and those refused.

    Looks are asked for only as far as needed, in the order of preference.
    """
    best: Look | None = None
    refused = []
    for look in looks:
        if not look.fit:
            refused.append(look)
        elif best is None or not look.second_choice:
            best = look
        if best is not None and not best.second_choice:
            break
    return best, tuple(refused)


def other_parts(taken: Sequence[Series], others: Sequence[tuple[Series, Verdict]]) -> list[tuple[Series, Verdict]]:
    """Give the series that show another part of the head than all those taken, and were scanned before or after them.

    Series without times are none: what they share with those taken cannot be told.
    """
    return [(series, verdict) for series, verdict in others if all(_is_other_part(one, series) for one in taken)]


def is_partial(look: Look) -> bool:
    """Whether only part of the head was seen."""
    return any(warning.code == "partial_head" for warning in look.warnings)


def left_aside(chosen: Look, others: Sequence[tuple[Series, Verdict]]) -> tuple[Reason, ...]:
    """Say which other fit series show another time, another part of the head or another patient than the one chosen."""
    warnings = []
    mine = span_of(chosen.series)
    for series, verdict in others:
        if not verdict.accepted or series is chosen.series:
            continue
        its = span_of(series)
        if verdict.acquisition != chosen.verdict.acquisition and mine is not None and its is not None:
            minutes = round((its.begin - mine.begin).total_seconds() / 60)
            when = f"{minutes} min later" if minutes > 0 else f"{-minutes} min earlier"
            text = f"the study holds another scan, {when}, which this result does not speak of"
            warnings.append(Reason(code="other_acquisition", text=text))
        elif is_partial(chosen) and _elsewhere(chosen.series, series):
            text = "another series holds a further part of the head, which this result does not speak of"
            warnings.append(Reason(code="other_part", text=text))
    name = registration_of(chosen.series.header)
    if any(verdict.accepted and registration_of(series.header) != name for series, verdict in others):
        warnings.append(OTHER_NAME)
    return tuple({warning.text: warning for warning in warnings}.values())


def _is_other_part(one: Series, other: Series) -> bool:
    mine, its = span_of(one), span_of(other)
    apart = mine is not None and its is not None and (mine.end < its.begin or its.end < mine.begin)
    return apart and _elsewhere(one, other)


def _elsewhere(one: Series, other: Series) -> bool:
    """Whether two series of axial slices share little of their height."""
    low, high = _heights_mm(one)
    other_low, other_high = _heights_mm(other)
    shared = min(high, other_high) - max(low, other_low)
    return shared < SAME_PART * min(high - low, other_high - other_low)


def _heights_mm(series: Series) -> tuple[float, float]:
    heights = [one.position_lps_mm[2] for one in series.slices]
    return min(heights), max(heights)
