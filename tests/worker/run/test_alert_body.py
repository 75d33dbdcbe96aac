from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ichor.settings import WebhookChannel
from worker.alert.body import Occasion, alert_body
from worker.alert.mail import text_of
from worker.eligibility import NO_SCAN_TIME, scan_time
from worker.result import AnalysisResult

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RESULT = AnalysisResult(
    status="analysed",
    written_at=NOW,
    study_instance_uid="1.2.3",
    conclusion="suspected",
    total_haemorrhage_ml=15.2,
    alert=True,
)
OCCASION = Occasion(
    alert_uid="2.25.7",
    event="haemorrhage_suspected",
    supersedes=None,
    scan=scan_time(None, received_at=NOW),
    received_at=NOW,
    analysed_at=NOW + timedelta(seconds=40),
    station="ICHOR",
    link="http://127.0.0.1:8080/alerts/2.25.7",
    accession_number="ACC-1",
)


def channel(*include: str) -> WebhookChannel:
    return WebhookChannel.model_validate(
        {"name": "on-call", "url": "http://127.0.0.1/", "secret": "s", "include": include}
    )


def test_identifiers_stand_in_only_where_the_channel_is_told_to() -> None:
    """Accession number and study UID are the site's decision, per channel."""
    assert {"accession_number", "study_instance_uid"}.isdisjoint(json.loads(alert_body(RESULT, OCCASION, channel())))
    body = json.loads(alert_body(RESULT, OCCASION, channel("accession_number")))
    assert body["accession_number"] == "ACC-1"
    assert "study_instance_uid" not in body


def test_times_carry_offsets_and_a_missing_one_is_said() -> None:
    """Every time is aware; that the time of receipt stands in for the acquisition is a warning."""
    body = json.loads(alert_body(RESULT, OCCASION, channel()))
    assert all(datetime.fromisoformat(body[key]).tzinfo for key in ("scanned_at", "received_at", "analysed_at"))
    assert [warning["code"] for warning in body["warnings"]] == [NO_SCAN_TIME.code]


def test_the_same_alert_is_the_same_bytes() -> None:
    """The body is canonical: what is signed does not depend on the order in which it was built."""
    assert alert_body(RESULT, OCCASION, channel()) == alert_body(RESULT, OCCASION, channel())
    assert b'"event":"haemorrhage_suspected","findings":[],"id":"2.25.7"' in alert_body(RESULT, OCCASION, channel())


def test_a_withdrawal_is_no_all_clear() -> None:
    """Whoever was called and hears that the alert is withdrawn also hears what that does not mean."""
    clean = replace(RESULT, conclusion="none_marked", total_haemorrhage_ml=0.0, alert=False)
    body = json.loads(alert_body(clean, replace(OCCASION, event="withdrawn"), channel()))
    assert "This does NOT exclude haemorrhage" in body["warnings"][0]["text"]
    assert "Note: A later result marks nothing" in text_of(body)
