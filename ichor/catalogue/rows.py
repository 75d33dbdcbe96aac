"""From rows of the tables to the frozen values that leave the catalogue."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichor.catalogue.records import (
    AlertRow,
    DeliveryObjectRow,
    DeliveryRow,
    EventRow,
    InstanceRow,
    Job,
    JobRow,
    ObjectRow,
    ResultRow,
    SeriesRow,
)
from ichor.catalogue.schema import Alert, Delivery, Event, Instance, JobEntry, Result, Series, Study
from ichor.errors import StudyNotFound


def study_by_uid(session: Session, study_instance_uid: str, *, lock: bool = False) -> Study:
    """Return a study's row.

    Whoever writes about a study locks its row first, and everything else after: one order for all, so that on
    PostgreSQL no two transactions wait for each other. (SQLite has one writer at a time anyway.)

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    query = select(Study).where(Study.study_instance_uid == study_instance_uid)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    study = session.scalars(query).one_or_none()
    if study is None:
        raise StudyNotFound
    return study


def lock_study(session: Session, study_id: int) -> Study:
    """Return a study's row, locked and as it is now."""
    query = select(Study).where(Study.id == study_id).with_for_update().execution_options(populate_existing=True)
    return session.scalars(query).one()


def instance_row(row: Instance, series_instance_uid: str) -> InstanceRow:
    """Return the value of an instance."""
    return InstanceRow(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        series_instance_uid=series_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        path=Path(row.path),
        received_at=row.received_at,
        identity=row.identity,
    )


def series_row(row: Series) -> SeriesRow:
    """Return the value of a series."""
    return SeriesRow(
        series_instance_uid=row.series_instance_uid,
        series_number=row.series_number,
        series_description=row.series_description,
        modality=row.modality,
        state=row.state,
        instance_count=row.instance_count,
        last_received_at=row.last_received_at,
        settled_at=row.settled_at,
        verdict=row.verdict,
    )


def claimed_job(row: JobEntry, study: Study, owner: str) -> Job:
    """Return the value of a job that was just claimed."""
    return Job(
        id=row.id,
        queue=row.queue,  # type: ignore[arg-type]  # only our own words are ever written
        kind=row.kind,  # type: ignore[arg-type]
        study_instance_uid=study.study_instance_uid,
        subject_id=row.subject_id,
        final=row.final,
        force=row.force,
        attempt=row.attempt,
        priority=-row.rank,
        created_at=row.created_at,
        lease_owner=owner,
    )


def job_row(row: JobEntry) -> JobRow:
    """Return the value of a job as the study's page shows it."""
    return JobRow(
        id=row.id,
        queue=row.queue,
        kind=row.kind,
        subject_id=row.subject_id,
        state=row.state,
        final=row.final,
        force=row.force,
        attempt=row.attempt,
        priority=-row.rank,
        created_at=row.created_at,
        not_before=row.not_before,
        finished_at=row.finished_at,
        error_code=row.error_code,
        error_text=row.error_text,
    )


def result_row(row: Result, study_instance_uid: str) -> ResultRow:
    """Return the value of a result."""
    return ResultRow(
        id=row.id,
        result_uid=row.result_uid,
        identity_digest=row.identity_digest,
        study_instance_uid=study_instance_uid,
        status=row.status,
        conclusion=row.conclusion,
        total_haemorrhage_ml=row.total_haemorrhage_ml,
        summary_json=row.summary_json,
        directory=Path(row.directory),
        model_digest=row.model_digest,
        provisional=row.provisional,
        input_version=row.input_version,
        identity=row.identity,
        supersedes_id=row.supersedes_id,
        superseded_by_id=row.superseded_by_id,
        created_at=row.created_at,
        acquired_at=row.acquired_at,
        objects=tuple(
            ObjectRow(
                id=item.id,
                kind=item.kind,
                sop_instance_uid=item.sop_instance_uid,
                sop_class_uid=item.sop_class_uid,
                path=Path(item.path),
                sha256=item.sha256,
            )
            for item in row.objects
        ),
    )


def delivery_row(row: Delivery, study_instance_uid: str) -> DeliveryRow:
    """Return the value of a delivery."""
    return DeliveryRow(
        id=row.id,
        result_id=row.result_id,
        study_instance_uid=study_instance_uid,
        destination=row.destination,
        state=row.state,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        objects=tuple(
            DeliveryObjectRow(
                object_id=item.object_id,
                kind=item.object.kind,
                sop_instance_uid=item.object.sop_instance_uid,
                sop_class_uid=item.object.sop_class_uid,
                path=Path(item.object.path),
                sha256=item.object.sha256,
                state=item.state,
                status_code=item.status_code,
            )
            for item in row.objects
        ),
    )


def alert_row(row: Alert, study_instance_uid: str) -> AlertRow:
    """Return the value of an alert."""
    return AlertRow(
        id=row.id,
        result_id=row.result_id,
        study_instance_uid=study_instance_uid,
        channel=row.channel,
        alert_uid=row.alert_uid,
        event=row.event,
        provisional=row.provisional,
        body=row.body,
        state=row.state,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        sent_at=row.sent_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
    )


def event_row(row: Event) -> EventRow:
    """Return the value of an event."""
    return EventRow(
        id=row.id, at=row.at, subject=row.subject, subject_key=row.subject_key, name=row.name, detail=row.detail
    )
