"""How a study stands, in the few kinds that people must never mix up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from worker.result import ALERT_MIN_VOLUME_ML

if TYPE_CHECKING:
    from ichor.catalogue.records import StudyRow
    from ichor.settings import Settings


class Outcome(Enum):
    """Value: the name used in JSON and as the style of the page's badge."""

    SUSPECTED = "suspected"
    SMALL = "small"
    NONE_MARKED = "none_marked"
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeWords:
    """The badge, and the line below it that keeps it from being misread."""

    badge: str
    note: str


PROGRESS_WORDS = {
    "receiving": "Receiving",
    "ready": "Received, waiting for its job",
    "queued": "Waiting for a worker",
    "running": "Analysis running",
}
STILL_OPEN = frozenset(PROGRESS_WORDS)


def alert_threshold_ml(settings: Settings) -> float:
    """Give the total from which somebody is called: the lowest of the channels'."""
    return min((channel.min_volume_ml for channel in settings.finding_channels), default=ALERT_MIN_VOLUME_ML)


def outcome_of(row: StudyRow, *, threshold_ml: float) -> Outcome:
    """Tell how a study stands now; work in progress comes before the result that it will replace."""
    if row.state in STILL_OPEN:
        return Outcome.IN_PROGRESS
    if row.state == "failed":
        return Outcome.FAILED
    if row.state != "analysed" or row.conclusion is None:
        return Outcome.NOT_ANALYSED
    if row.conclusion == "none_marked":
        return Outcome.NONE_MARKED
    total_ml = row.total_haemorrhage_ml
    return Outcome.SMALL if total_ml is not None and total_ml < threshold_ml else Outcome.SUSPECTED


def words_of(row: StudyRow, outcome: Outcome) -> OutcomeWords:
    """Give the words for a worklist line."""
    volume = "" if row.total_haemorrhage_ml is None else f"{row.total_haemorrhage_ml:.1f} mL"
    if outcome is Outcome.IN_PROGRESS:
        note = "no result yet"
        if row.provisional:
            note = f"early look: SUSPECTED {volume}; slices may still come"
        elif row.result_id is not None:
            note = f"result so far: {_so_far(row, volume)}"
        if row.other_suspected_ml is not None:
            note = f"{note}; another scan of this study: SUSPECTED {row.other_suspected_ml:.1f} mL"
        return OutcomeWords(badge=PROGRESS_WORDS[row.state], note=note)
    words = _words(outcome, volume)
    if row.other_suspected_ml is None:
        return words
    other = f"another scan of this study: SUSPECTED {row.other_suspected_ml:.1f} mL"
    return OutcomeWords(badge=words.badge, note=f"{words.note}; {other}")


def _so_far(row: StudyRow, volume: str) -> str:
    """Name the result that a newer one may replace: a suspicion must not vanish while the study is looked at again."""
    if row.conclusion == "suspected":
        return f"SUSPECTED {volume}"
    return "no region marked" if row.conclusion == "none_marked" else "not analysed"


def _words(outcome: Outcome, volume: str) -> OutcomeWords:
    return {
        Outcome.SUSPECTED: OutcomeWords(badge=f"SUSPECTED {volume}".strip(), note="marked by algorithm, not reviewed"),
        Outcome.SMALL: OutcomeWords(badge=f"Small region marked, {volume}", note="below alert threshold"),
        Outcome.NONE_MARKED: OutcomeWords(badge="No region marked", note="does NOT exclude haemorrhage"),
        Outcome.NOT_ANALYSED: OutcomeWords(badge="NOT ANALYSED", note="no result; read as usual"),
        Outcome.FAILED: OutcomeWords(badge="FAILED", note="no result; read as usual"),
    }[outcome]
