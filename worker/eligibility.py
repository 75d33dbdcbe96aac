"""Which results call somebody: alerts are for patients who are in the house now, and for volumes that matter.

Acquisitions at most `max_age_h` old; where the header holds no acquisition time, the time of receipt counts, and the
alert says so. A channel may want more: labels, growth, hours, senders; all of it must fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ichor.errors import SettingsError
from worker.conclusion import MEMBERS_NOT_VALIDATED
from worker.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from ichor.settings import AlertChannel
    from worker.result import AnalysisResult

CLOCK_SKEW = timedelta(minutes=10)
"""How far a scanner's clock may run ahead of ours before its acquisition time is not believed."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_SCAN_TIME = Reason(
    code="no_acquisition_time",
    text="The image has no usable acquisition time; the time of receipt stands in its place.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTime:
    """When the patient was scanned, as far as is known; `warning` where it is the time of receipt."""

    at: datetime
    warning: Reason | None


def scan_time(scanned_at: datetime | None, *, received_at: datetime) -> ScanTime:
    """Take the acquisition time (aware), unless there is none or it lies in the future."""
    if scanned_at is not None and scanned_at <= received_at + CLOCK_SKEW:
        return ScanTime(at=scanned_at, warning=None)
    return ScanTime(at=received_at, warning=NO_SCAN_TIME)


def calls_somebody(
    result: AnalysisResult, scan: ScanTime, channel: AlertChannel, *, now: datetime, source: str = ""
) -> bool:
    """Whether this result is an alert on this channel; `source` is the AE title that sent the images."""
    return why_silent(result, scan, channel, now=now, source=source) is None


def why_silent(
    result: AnalysisResult, scan: ScanTime, channel: AlertChannel, *, now: datetime, source: str = ""
) -> str | None:
    """Say why this result is no alert on this channel; None where it is one."""
    if result.conclusion != "suspected" or result.total_haemorrhage_ml is None:
        return "nothing was marked"
    age, most = now - scan.at, timedelta(hours=channel.max_age_h)
    unvalidated = any(warning.code == MEMBERS_NOT_VALIDATED for warning in result.warnings)
    of_labels = f" of {', '.join(channel.labels)}" if channel.labels else ""
    hindrances = (
        (unvalidated, "the members that ran are a subset that is not validated"),
        (age > most, f"the scan was {age / timedelta(hours=1):.1f} h old, more than {channel.max_age_h:g} h"),
        (
            bool(channel.sources) and source.strip() not in channel.sources,
            "the sender is not among the channel's sources",
        ),
        (counted_ml(result, channel) < channel.min_volume_ml, f"less than {channel.min_volume_ml:g} mL{of_labels}"),
        (not _has_grown(result, channel), "no growth against an earlier scan, as the channel wants it"),
        (not is_on_duty(channel, now), "the channel is off duty at this hour"),
    )
    return next((text for hinders, text in hindrances if hinders), None)


def counted_ml(result: AnalysisResult, channel: AlertChannel) -> float:
    """Give the haemorrhage, in mL, that the channel looks at: of its labels, else all."""
    if not channel.labels:
        return result.total_haemorrhage_ml or 0.0
    return sum(found.volume_ml for found in result.haemorrhages if found.label in channel.labels)


def _has_grown(result: AnalysisResult, channel: AlertChannel) -> bool:
    """Whether the total has grown by as much as the channel wants; without a comparable earlier scan it has not."""
    if channel.min_growth_ml is None and channel.min_growth_percent is None:
        return True
    if result.change is None:
        return False
    change_ml, percent = result.change.change_ml, result.change.change_percent
    by_volume = channel.min_growth_ml is not None and change_ml >= channel.min_growth_ml
    by_share = channel.min_growth_percent is not None and percent is not None and percent >= channel.min_growth_percent
    return by_volume or by_share


def is_on_duty(channel: AlertChannel, now: datetime) -> bool:
    """Whether the channel is told at this moment of this machine's local time."""
    local = now.astimezone()
    if channel.weekdays and WEEKDAYS[local.weekday()] not in channel.weekdays:
        return False
    if not channel.hours:
        return True
    begin, end = channel.hours.split("-")
    at = local.strftime("%H:%M")
    return begin <= at < end if begin < end else at >= begin or at < end


def check_labels(channels: Iterable[AlertChannel], known: Collection[str]) -> None:
    """Raise SettingsError where a channel waits for a label that the model never marks as haemorrhage."""
    for channel in channels:
        for label in channel.labels:
            if label not in known:
                raise SettingsError(
                    f"alerts: {channel.name} waits for {label!r}, which the model does not mark as haemorrhage; "
                    f"it marks {', '.join(sorted(known))}."
                )
