from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from ichor.errors import SettingsError
from ichor.settings import WebhookChannel
from tests.worker.run.test_hl7 import IPH
from worker.change import Change
from worker.conclusion import MEMBERS_NOT_VALIDATED
from worker.eligibility import NO_SCAN_TIME, calls_somebody, check_labels, scan_time, why_silent
from worker.reason import Reason
from worker.result import AnalysisResult

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CHANNEL = WebhookChannel(
    name="on-call", url="https://alerts.example/", secret=SecretStr("s"), min_volume_ml=0.5, max_age_h=4.0
)
BLEED = AnalysisResult(
    status="analysed",
    written_at=NOW,
    study_instance_uid="1.2.3",
    conclusion="suspected",
    total_haemorrhage_ml=0.5,
    alert=True,
)


def calls(result: AnalysisResult, scanned_at: datetime | None = NOW, received_at: datetime = NOW) -> bool:
    return calls_somebody(result, scan_time(scanned_at, received_at=received_at), CHANNEL, now=NOW)


def test_volume_decides_at_the_threshold() -> None:
    """Exactly the threshold alerts, less does not."""
    assert calls(BLEED)
    assert not calls(replace(BLEED, total_haemorrhage_ml=0.49))


def test_only_a_suspicion_alerts() -> None:
    """None marked and not analysed call nobody."""
    assert not calls(replace(BLEED, conclusion="none_marked"))
    refused = (Reason(code="contrast", text="contrast-enhanced series"),)
    assert not calls(replace(BLEED, status="not_analysed", conclusion=None, reasons=refused))


def test_old_scans_call_nobody() -> None:
    """Four hours is the limit; a prior that comes with the study is older."""
    assert calls(BLEED, NOW - timedelta(hours=4))
    assert not calls(BLEED, NOW - timedelta(hours=4, seconds=1))


def test_without_an_acquisition_time_receipt_counts() -> None:
    """The time of receipt stands in, and the alert says so."""
    stood_in = scan_time(None, received_at=NOW)
    assert (stood_in.at, stood_in.warning) == (NOW, NO_SCAN_TIME)
    assert calls(BLEED, None)
    assert not calls(BLEED, None, NOW - timedelta(hours=5))


def test_a_scan_from_the_future_is_not_believed() -> None:
    """A scanner's clock that runs a day ahead must not make an old scan look fresh for a day."""
    assert scan_time(NOW + timedelta(days=1), received_at=NOW).warning == NO_SCAN_TIME
    assert scan_time(NOW + timedelta(minutes=5), received_at=NOW).warning is None


def test_an_unvalidated_subset_calls_nobody() -> None:
    """A subset of members may alert only where the spec records its validation."""
    assert not calls(replace(BLEED, warnings=(Reason(code=MEMBERS_NOT_VALIDATED, text="Only 1 of 12."),)))


def told(
    channel: Mapping[str, object], result: AnalysisResult = BLEED, now: datetime = NOW, source: str = "CT1"
) -> bool:
    rules = CHANNEL.model_validate({**CHANNEL.model_dump(), **channel})
    return calls_somebody(result, scan_time(now, received_at=now), rules, now=now, source=source)


def test_a_channel_may_wait_for_labels() -> None:
    """Only the volume under its labels counts against its threshold; oedema never does."""
    iph = replace(IPH, label="IPH", volume_ml=2.0)
    mixed = replace(
        BLEED,
        total_haemorrhage_ml=2.3,
        findings=(iph, replace(IPH, label="IVH", volume_ml=0.3), replace(IPH, label="OED", haemorrhage=False)),
    )
    assert told({"labels": ("IPH",)}, mixed)
    assert not told({"labels": ("IVH",)}, mixed)
    assert told({"labels": ("IVH", "IPH"), "min_volume_ml": 2.2}, mixed)
    assert not told({"labels": ("OED",)}, mixed)


def test_a_label_that_the_model_does_not_mark_is_said() -> None:
    """A misspelt label would be silent for ever."""
    with pytest.raises(SettingsError, match=r"on-call waits for 'IHP'.*it marks IPH, IVH"):
        check_labels([CHANNEL.model_copy(update={"labels": ("IHP",)})], {"IVH", "IPH"})
    check_labels([CHANNEL], {"IPH"})


def test_a_channel_may_wait_for_growth() -> None:
    """By millilitres or by per cent, whichever is reached; what cannot be compared has not grown."""
    rules = {"min_growth_ml": 6.0, "min_growth_percent": 33.0}

    def grown(change_ml: float, percent: float | None) -> AnalysisResult:
        change = Change(prior_scanned_at=NOW, prior_total_ml=9.0, change_ml=change_ml, change_percent=percent)
        return replace(BLEED, change=change)

    assert told(rules, grown(6.0, 10.0))
    assert told(rules, grown(3.0, 33.0))
    assert not told(rules, grown(5.9, 32.9))
    assert not told(rules, grown(2.0, None))
    assert not told(rules, BLEED)
    assert not told({"min_growth_percent": 1.0}, grown(50.0, None))


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "18:00", False),
        ("18:00-08:00", "23:30", True),
        ("18:00-08:00", "07:59", True),
        ("18:00-08:00", "08:00", False),
        ("00:00-00:00", "12:00", True),
        ("", "03:00", True),
    ],
)
def test_a_channel_has_its_hours(hours: str, at: str, *, expected: bool) -> None:
    """In local time, over midnight too."""
    now = datetime.fromisoformat(f"2026-03-02T{at}").astimezone()
    assert told({"hours": hours}, now=now) is expected


def test_a_channel_has_its_days_and_its_senders() -> None:
    """The local day at the moment; AE titles as they are sent."""
    monday = datetime.fromisoformat("2026-03-02T12:00").astimezone()
    assert told({"weekdays": ("mon",)}, now=monday)
    assert not told({"weekdays": ("sat", "sun")}, now=monday)
    assert told({"sources": ("ED_CT",)}, source="ED_CT ")
    assert not told({"sources": ("ED_CT",)}, source="WARD_CT")


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ({"max_age_h": 1.0}, "the scan was 2.0 h old, more than 1 h"),
        ({"min_volume_ml": 2.0, "labels": ("IVH",)}, "less than 2 mL of IVH"),
        ({"sources": ("CT9",)}, "the sender is not among the channel's sources"),
        ({"min_growth_ml": 6.0}, "no growth against an earlier scan, as the channel wants it"),
        ({}, None),
    ],
)
def test_silence_has_a_reason(channel: Mapping[str, object], said: str | None) -> None:
    """Whoever asks why nobody was called gets the answer."""
    two_hours_ago = scan_time(NOW - timedelta(hours=2), received_at=NOW)
    asked = CHANNEL.model_copy(update=dict(channel))
    assert why_silent(BLEED, two_hours_ago, asked, now=NOW, source="CT1") == said
