"""What the worklist and a study's page say, as plain values for JSON, tables and templates alike.

Patients' names stay in the catalogue: nobody needs them to find a study by accession number or patient ID.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.outcome import alert_threshold_ml, outcome_of, words_of
from worker.deliver.status import status_text

if TYPE_CHECKING:
    from ichor.catalogue.records import DeliveryObjectRow, ResultRow, StudyDetail, StudyRow
    from ichor.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """One line of the worklist."""

    study_instance_uid: str
    accession_number: str
    patient_id: str
    study_date: str
    description: str
    sender: str
    state: str
    outcome: str
    badge: str
    note: str
    conclusion: str | None
    total_haemorrhage_ml: float | None
    other_suspected_ml: float | None
    """The largest total of another scan of the study that is suspicious, whatever the latest one shows."""
    provisional: bool
    series: int
    instances: int
    first_received_at: datetime
    last_received_at: datetime
    deliveries: tuple[str, ...]
    alerts: tuple[str, ...]


def summary_of(row: StudyRow, settings: Settings) -> StudySummary:
    """Put a catalogue row into the words of the worklist."""
    outcome = outcome_of(row, threshold_ml=alert_threshold_ml(settings))
    words = words_of(row, outcome)
    return StudySummary(
        study_instance_uid=row.study_instance_uid,
        accession_number=row.accession_number,
        patient_id=row.patient_id,
        study_date=row.study_date,
        description=row.study_description,
        sender=row.calling_ae,
        state=row.state,
        outcome=outcome.value,
        badge=words.badge,
        note=words.note,
        conclusion=row.conclusion,
        total_haemorrhage_ml=row.total_haemorrhage_ml,
        other_suspected_ml=row.other_suspected_ml,
        provisional=row.provisional,
        series=row.series_count,
        instances=row.instance_count,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        deliveries=row.delivery_states,
        alerts=row.alert_states,
    )


def current_result(detail: StudyDetail) -> ResultRow | None:
    """Give the study's main result: the latest acquisition's; an early one only where it is suspicious."""
    return next((result for result in detail.results if result.id == detail.study.result_id), None)


def further_results(detail: StudyDetail) -> tuple[ResultRow, ...]:
    """Give the results of other acquisitions that stand beside the main one, the latest acquisition first."""
    others = [
        one
        for one in detail.results
        if one.superseded_by_id is None and not one.provisional and one.id != detail.study.result_id
    ]
    return tuple(sorted(others, key=lambda one: (one.acquired_at or one.created_at, one.id), reverse=True))


def report_of(detail: StudyDetail, settings: Settings) -> dict[str, Any]:
    """Give everything a person may see of a study, JSON-ready.

    `result` is the `result.json` of the latest acquisition, `further` those of other acquisitions that stand beside it.
    """
    result = current_result(detail)
    standing = {one.id for one in detail.results if one.superseded_by_id is None}
    report = {
        "study": asdict(summary_of(detail.study, settings)),
        "result": None if result is None else json.loads(result.summary_json),
        "further": [json.loads(one.summary_json) for one in further_results(detail)],
        "results": [
            {
                "result_uid": one.result_uid,
                "status": one.status,
                "conclusion": one.conclusion,
                "created_at": one.created_at,
                "acquired_at": one.acquired_at,
                "superseded": one.superseded_by_id is not None,
            }
            for one in detail.results
        ],
        "series": [asdict(series) for series in detail.series],
        "deliveries": [
            {
                "id": delivery.id,
                "destination": delivery.destination,
                "state": delivery.state,
                "error": delivery.error,
                "updated_at": delivery.updated_at,
                "resendable": delivery.resendable and delivery.result_id in standing,
                "objects": [object_report(part) for part in delivery.objects],
            }
            for delivery in detail.deliveries
        ],
        "alerts": [
            {
                "id": alert.id,
                "alert_uid": alert.alert_uid,
                "channel": alert.channel,
                "event": alert.event,
                "state": alert.state,
                "error": alert.error,
                "sent_at": alert.sent_at,
                "acknowledged_at": alert.acknowledged_at,
                "acknowledged_by": alert.acknowledged_by,
            }
            for alert in detail.alerts
        ],
        "jobs": [asdict(job) for job in detail.jobs],
        "timeline": [
            {"at": event.at, "subject": event.subject, "name": event.name, "detail": dict(event.detail)}
            for event in detail.events
        ],
    }
    plain: dict[str, Any] = json.loads(json.dumps(report, default=plain_value))
    return plain


def object_report(part: DeliveryObjectRow) -> dict[str, Any]:
    """Give one object of a delivery; where the destination refused it, with the reason in words."""
    refused = part.state == "failed"
    return {
        "kind": part.kind,
        "state": "refused" if refused else part.state,
        "status": part.status_code,
        "reason": status_text(part.status_code) if refused else "",
    }


def plain_value(value: object) -> object:
    """Turn what JSON does not know into text, for `json.dumps(default=...)`."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
