"""Times, headlines and event names as people read them."""

from __future__ import annotations

from datetime import datetime

from worker.output.words import headline
from worker.result import AnalysisResult


def headline_of(summary_json: str) -> str:
    """Give the sentence that stands on the summary object, from the stored `result.json`."""
    return headline(AnalysisResult.from_json(summary_json))


def when(value: datetime | str | None) -> str:
    """Give a moment in the node's local time, to the second."""
    if value is None:
        return "-"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zone_of(moment: datetime) -> str:
    """Name the node's time zone at a moment, as an offset: `UTC+01:00`."""
    offset = moment.astimezone().strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:5]}"


def words_of_event(name: str) -> str:
    """Turn `series_settled` into `series settled`."""
    return name.replace("_", " ")
