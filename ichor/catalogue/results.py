"""Recorded results: written once, found again by their identity, superseded and never changed.

A result, its objects, its deliveries, its alerts and their jobs come into being in one transaction, after the files
are on the disk. Several results of a study stand side by side where they speak of acquisitions apart; the latest
acquisition's is the study's main result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichor.catalogue.early import retire_provisional_alerts
from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event, set_study_state
from ichor.catalogue.jobs import enqueue
from ichor.catalogue.records import NewAlert, NewResult, ResultRow
from ichor.catalogue.rows import lock_study, result_row, study_by_uid
from ichor.catalogue.schema import Alert, Delivery, DeliveryObject, JobEntry, Result, ResultObject, Study
from ichor.errors import RowNotFound

ALERT_PRIORITY = 10
"""Alerts go before deliveries: a person waits for them."""
COVERS_NOTHING = 0
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def find_result(session: Session, identity_digest: str) -> ResultRow | None:
    """Return the result of this identity, also where it was superseded."""
    row = session.scalars(select(Result).where(Result.identity_digest == identity_digest)).one_or_none()
    return None if row is None else result_row(row, row.study.study_instance_uid)


def latest_result(session: Session, study_instance_uid: str) -> ResultRow | None:
    """Return the study's main result; None where there is none, or no such study."""
    row = session.scalars(
        select(Result)
        .join(Study, Study.latest_result_id == Result.id)
        .where(Study.study_instance_uid == study_instance_uid)
    ).one_or_none()
    return None if row is None else result_row(row, study_instance_uid)


def standing_results(session: Session, study_instance_uid: str) -> tuple[ResultRow, ...]:
    """Return the study's results that nothing superseded, as they were recorded; none where there is no such study."""
    query = (
        select(Result)
        .join(Study, Result.study_id == Study.id)
        .where(Study.study_instance_uid == study_instance_uid, Result.superseded_by_id.is_(None))
        .order_by(Result.id)
    )
    return tuple(result_row(row, study_instance_uid) for row in session.scalars(query))


def results_of_patient(
    session: Session, study_instance_uid: str, *, acquired_before: datetime, limit: int
) -> tuple[ResultRow, ...]:
    """Return analysed results that stand, of earlier scans in other studies with this study's patient ID and name.

    The latest scans first, at most `limit`; none where ID or name are empty. An ID is unique within its issuer only,
    which the catalogue does not know: whoever compares must look further.
    """
    own = session.scalars(select(Study).where(Study.study_instance_uid == study_instance_uid)).one_or_none()
    if own is None or not own.patient_id or not own.patient_name:
        return ()
    query = (
        select(Result, Study.study_instance_uid)
        .join(Study, Result.study_id == Study.id)
        .where(
            Study.patient_id == own.patient_id,
            Study.patient_name == own.patient_name,
            Study.id != own.id,
            Result.status == "analysed",
            Result.superseded_by_id.is_(None),
            Result.provisional.is_(False),
            Result.acquired_at < acquired_before,
        )
        .order_by(Result.acquired_at.desc(), Result.id.desc())
        .limit(limit)
    )
    return tuple(result_row(row, uid) for row, uid in session.execute(query))


def record_result(session: Session, new: NewResult, *, cover: bool = True) -> int:
    """Record a result with all that follows from it; return its id.

    Recording an identity again changes nothing but the version of the input that it covers. A provisional result
    recorded again as final becomes final, and what it lacks is added. Without `cover` it covers no version of the
    input until `cover_input` says so: other acquisitions of the study wait for theirs.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    study = study_by_uid(session, new.study_instance_uid, lock=True)
    now = database_now(session)
    result = session.scalars(select(Result).where(Result.identity_digest == new.identity_digest)).one_or_none()
    if result is not None and (new.provisional or not result.provisional):
        if cover:
            _cover(session, study, result, new.input_version, now)
        return result.id
    if result is None:
        result = _insert_result(session, study, new, now, cover=cover)
    else:
        result.provisional = False
        result.status, result.conclusion, result.summary_json = new.status, new.conclusion, new.summary_json
        result.total_haemorrhage_ml = _total_ml(new.summary_json)
    _supersede(session, study, result, new.also_supersedes, now)
    objects = _insert_objects(session, result, new)
    _insert_deliveries(session, study, result, new, objects, now)
    _insert_alerts(session, study, result, new.alerts, now)
    if not new.provisional:
        retire_provisional_alerts(session, result.id, now)
    detail = {"status": new.status, "conclusion": new.conclusion, "provisional": new.provisional}
    add_event(
        session,
        at=now,
        study_id=study.id,
        subject="result",
        subject_key=result.id,
        name="result_recorded",
        detail=detail,
    )
    if cover:
        _cover(session, study, result, new.input_version, now)
    return result.id


def successor(session: Session, result_id: int) -> ResultRow:
    """Return a result, or the one that stands in its place now; raises RowNotFound."""
    row = session.get(Result, result_id)
    while row is not None and row.superseded_by_id is not None:
        row = session.get(Result, row.superseded_by_id)
    if row is None:
        raise RowNotFound
    return result_row(row, row.study.study_instance_uid)


def take_over(session: Session, result_id: int, old_ids: Sequence[int]) -> None:
    """Let a recorded result stand in the place of others too; raises RowNotFound."""
    study, result = _locked(session, result_id)
    _supersede(session, study, result, old_ids, database_now(session))


def add_alerts(session: Session, result_id: int, alerts: Sequence[NewAlert]) -> None:
    """Give a recorded result further messages; raises RowNotFound."""
    study, result = _locked(session, result_id)
    _insert_alerts(session, study, result, alerts, database_now(session))


def cover_input(session: Session, result_id: int, input_version: int) -> None:
    """Say that an existing result also stands for a later input: a series came that changes nothing.

    Raises:
        RowNotFound: there is no such result.
    """
    study, result = _locked(session, result_id)
    _cover(session, study, result, input_version, database_now(session))


def _locked(session: Session, result_id: int) -> tuple[Study, Result]:
    study_id = session.scalars(select(Result.study_id).where(Result.id == result_id)).one_or_none()
    if study_id is None:
        raise RowNotFound
    return lock_study(session, study_id), session.get_one(Result, result_id)


def _cover(session: Session, study: Study, result: Result, input_version: int, now: datetime) -> None:
    """Let a result stand for a version of the input; the main one says how the study stands."""
    result.input_version = max(result.input_version, input_version)
    if result.provisional or result.id != study.latest_result_id:
        return
    study.closed_version = max(study.closed_version, result.input_version)
    waits = select(JobEntry.id).where(
        JobEntry.study_id == study.id, JobEntry.queue == "analyse", JobEntry.state == "ready"
    )
    if result.input_version >= study.input_version and session.scalars(waits).first() is None:
        set_study_state(session, study, result.status, at=now)  # type: ignore[arg-type]  # a ResultStatus is one


def _insert_result(session: Session, study: Study, new: NewResult, now: datetime, *, cover: bool) -> Result:
    result = Result(
        result_uid=new.result_uid,
        identity_digest=new.identity_digest,
        study_id=study.id,
        job_id=new.job_id,
        input_version=new.input_version if cover else COVERS_NOTHING,
        status=new.status,
        conclusion=new.conclusion,
        total_haemorrhage_ml=_total_ml(new.summary_json),
        summary_json=new.summary_json,
        directory=str(new.directory),
        model_digest=new.model_digest,
        provisional=new.provisional,
        identity=new.identity,
        supersedes_id=new.supersedes_id,
        acquired_at=new.acquired_at,
        created_at=now,
    )
    session.add(result)
    session.flush()
    return result


def _total_ml(summary_json: str) -> float | None:
    value = json.loads(summary_json).get("total_haemorrhage_ml")
    return None if value is None else float(value)


def _supersede(session: Session, study: Study, result: Result, further: Sequence[int], now: datetime) -> None:
    """Mark what a result takes the place of, and let the latest acquisition's result be the main one."""
    for old_id in (result.supersedes_id, *further):
        old = None if old_id is None else session.get(Result, old_id)
        if old is None or old.superseded_by_id is not None:
            continue
        old.superseded_by_id = result.id
        add_event(
            session,
            at=now,
            study_id=study.id,
            subject="result",
            subject_key=old.id,
            name="result_superseded",
            detail={"by": result.id},
        )
    session.flush()
    query = select(Result).where(Result.study_id == study.id, Result.superseded_by_id.is_(None))
    # Nobody is to read "none marked" of a series that may grow.
    standing = [one for one in session.scalars(query) if not one.provisional or one.conclusion == "suspected"]
    if standing:
        main = max(standing, key=lambda one: (_EARLIEST if one.acquired_at is None else one.acquired_at, one.id))
        study.latest_result_id = main.id


def _insert_objects(session: Session, result: Result, new: NewResult) -> list[ResultObject]:
    held = {item.sop_instance_uid for item in result.objects}
    result.objects.extend(
        ResultObject(
            result_id=result.id,
            kind=item.kind,
            sop_instance_uid=item.sop_instance_uid,
            sop_class_uid=item.sop_class_uid,
            path=str(item.path),
            sha256=item.sha256,
        )
        for item in new.objects
        if item.sop_instance_uid not in held
    )
    session.flush()
    return result.objects


def _insert_deliveries(  # the parts of one transaction
    session: Session, study: Study, result: Result, new: NewResult, objects: list[ResultObject], now: datetime
) -> None:
    held = set(session.scalars(select(Delivery.destination).where(Delivery.result_id == result.id)))
    for item in new.deliveries:
        among = item.sop_instance_uids
        wanted = [
            entry
            for entry in objects
            if entry.kind in item.kinds and (among is None or entry.sop_instance_uid in among)
        ]
        if item.destination in held or not wanted:
            continue
        delivery = Delivery(
            result_id=result.id,
            destination=item.destination,
            state="held" if item.held else "pending",
            created_at=now,
            updated_at=now,
        )
        delivery.objects = [DeliveryObject(object_id=entry.id, state="pending", updated_at=now) for entry in wanted]
        session.add(delivery)
        session.flush()
        _outbox_event(session, study, "delivery", delivery.id, delivery.state, {"destination": item.destination}, now)
        if not item.held:
            enqueue(
                session,
                queue="deliver",
                kind="deliver",
                study_instance_uid=study.study_instance_uid,
                subject_id=delivery.id,
            )


def _insert_alerts(session: Session, study: Study, result: Result, alerts: Sequence[NewAlert], now: datetime) -> None:
    query = select(Alert.channel, Alert.event, Alert.provisional).where(Alert.result_id == result.id)
    held = {(row[0], row[1], row[2]) for row in session.execute(query)}
    for item in alerts:
        if (item.channel, item.event, item.provisional) in held:
            continue
        alert = Alert(
            result_id=result.id,
            channel=item.channel,
            alert_uid=item.alert_uid,
            event=item.event,
            provisional=item.provisional,
            body=item.body,
            state="held" if item.held else "pending",
            created_at=now,
            updated_at=now,
        )
        session.add(alert)
        session.flush()
        detail = {"channel": item.channel, "event": item.event, "provisional": item.provisional}
        _outbox_event(session, study, "alert", alert.id, alert.state, detail, now)
        if not item.held:
            enqueue(
                session,
                queue="deliver",
                kind="alert",
                study_instance_uid=study.study_instance_uid,
                subject_id=alert.id,
                priority=ALERT_PRIORITY,
            )


def _outbox_event(  # one argument per column
    session: Session, study: Study, subject: str, key: int, state: str, detail: dict[str, object], now: datetime
) -> None:
    add_event(
        session,
        at=now,
        study_id=study.id,
        subject=subject,
        subject_key=key,
        name=f"{subject}_{state}",
        detail=detail,
    )
