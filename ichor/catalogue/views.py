"""What people and metrics look at: the worklist, one study's page, counts by state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.jobs import enqueue
from ichor.catalogue.records import StudyDetail, StudyRow
from ichor.catalogue.rows import (
    alert_row,
    delivery_row,
    event_row,
    job_row,
    result_row,
    series_row,
    study_by_uid,
)
from ichor.catalogue.schema import Alert, Delivery, Event, JobEntry, Result, Series, Study

RETRY_PRIORITY = 5
"""A person asked for it and looks at the page."""


def list_studies(session: Session, limit: int = 100, offset: int = 0) -> tuple[StudyRow, ...]:
    """Return the worklist, the latest arrivals first."""
    query = select(Study).order_by(Study.last_received_at.desc(), Study.id.desc()).limit(limit).offset(offset)
    return _study_rows(session, session.scalars(query).all())


def study_detail(session: Session, study_instance_uid: str) -> StudyDetail:
    """Return everything about one study, each list in the order in which it came about.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    study = study_by_uid(session, study_instance_uid)
    series = session.scalars(select(Series).where(Series.study_id == study.id).order_by(Series.id))
    results = session.scalars(select(Result).where(Result.study_id == study.id).order_by(Result.id))
    of_study = select(Result.id).where(Result.study_id == study.id)
    deliveries = session.scalars(select(Delivery).where(Delivery.result_id.in_(of_study)).order_by(Delivery.id))
    alerts = session.scalars(select(Alert).where(Alert.result_id.in_(of_study)).order_by(Alert.id))
    jobs = session.scalars(select(JobEntry).where(JobEntry.study_id == study.id).order_by(JobEntry.id))
    events = session.scalars(select(Event).where(Event.study_id == study.id).order_by(Event.id))
    return StudyDetail(
        study=_study_rows(session, [study])[0],
        series=tuple(series_row(row) for row in series),
        results=tuple(result_row(row, study_instance_uid) for row in results),
        deliveries=tuple(delivery_row(row, study_instance_uid) for row in deliveries),
        alerts=tuple(alert_row(row, study_instance_uid) for row in alerts),
        jobs=tuple(job_row(row) for row in jobs),
        events=tuple(event_row(row) for row in events),
    )


def counters(session: Session) -> dict[str, Mapping[str, int]]:
    """Return how many studies, jobs, deliveries and alerts there are in each state."""
    counts: dict[str, Mapping[str, int]] = {}
    tables = (("studies", Study), ("jobs", JobEntry), ("deliveries", Delivery), ("alerts", Alert))
    for name, table in tables:
        rows = session.execute(select(table.state, func.count()).group_by(table.state))
        counts[name] = dict(rows.all())
    return counts


def last_result_age_s(session: Session) -> float | None:
    """Return how long ago the newest result was recorded; None where there is none."""
    recorded_at = session.scalars(select(Result.created_at).order_by(Result.id.desc()).limit(1)).one_or_none()
    return None if recorded_at is None else (database_now(session) - recorded_at).total_seconds()


def request_retry(session: Session, study_instance_uid: str, *, force: bool, by: str = "") -> int:
    """Ask for another analysis of a study as a person does, before routine work; return the job's id.

    `by` is the user who asked, empty for the operator at the command line.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    add_event(
        session,
        at=database_now(session),
        study_id=study_by_uid(session, study_instance_uid, lock=True).id,
        subject="study",
        subject_key=study_instance_uid,
        name="retry_asked",
        detail={"by": by, "force": force},
    )
    return enqueue(
        session,
        queue="analyse",
        kind="analyse",
        study_instance_uid=study_instance_uid,
        final=True,
        force=force,
        priority=RETRY_PRIORITY,
    )


def _study_rows(session: Session, studies: Sequence[Study]) -> tuple[StudyRow, ...]:
    # Columns, not rows: result.json may be long, and the worklist does not show it.
    columns = (
        Result.id, Result.study_id, Result.status, Result.conclusion, Result.total_haemorrhage_ml, Result.provisional
    )  # fmt: skip
    standing = select(*columns).where(
        Result.study_id.in_([study.id for study in studies]), Result.superseded_by_id.is_(None)
    )
    results = {row.id: row for row in session.execute(standing)}
    delivery_states: dict[int, list[str]] = defaultdict(list)
    alert_states: dict[int, list[str]] = defaultdict(list)
    for table, states in ((Delivery, delivery_states), (Alert, alert_states)):
        query = select(table.result_id, table.state).where(table.result_id.in_(results)).order_by(table.id)
        for result_id, state in session.execute(query):
            states[results[result_id].study_id].append(state)
    suspected_ml: dict[int, float] = defaultdict(float)
    main_ids = {study.latest_result_id for study in studies}
    for row in results.values():
        if row.id not in main_ids and row.conclusion == "suspected":
            suspected_ml[row.study_id] = max(suspected_ml[row.study_id], row.total_haemorrhage_ml or 0.0)
    rows = []
    for study in studies:
        result = results.get(study.latest_result_id) if study.latest_result_id is not None else None
        rows.append(
            StudyRow(
                study_instance_uid=study.study_instance_uid,
                patient_id=study.patient_id,
                patient_name=study.patient_name,
                accession_number=study.accession_number,
                study_date=study.study_date,
                study_description=study.study_description,
                calling_ae=study.calling_ae,
                state=study.state,
                input_version=study.input_version,
                series_count=study.series_count,
                instance_count=study.instance_count,
                first_received_at=study.first_received_at,
                last_received_at=study.last_received_at,
                updated_at=study.updated_at,
                result_id=None if result is None else result.id,
                result_status=None if result is None else result.status,
                conclusion=None if result is None else result.conclusion,
                total_haemorrhage_ml=None if result is None else result.total_haemorrhage_ml,
                provisional=result is not None and result.provisional,
                delivery_states=tuple(delivery_states.get(study.id, ())),
                alert_states=tuple(alert_states.get(study.id, ())),
                other_suspected_ml=suspected_ml.get(study.id),
            )
        )
    return tuple(rows)
