"""Deliveries and alerts on their way out: what was sent, what is proven to have arrived, what was read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.jobs import enqueue
from ichor.catalogue.records import AlertRow, AlertState, DeliveryRow, DeliveryState, ObjectState
from ichor.catalogue.results import ALERT_PRIORITY
from ichor.catalogue.rows import alert_row, delivery_row, lock_study
from ichor.catalogue.schema import Alert, Delivery, DeliveryObject, Result
from ichor.errors import NotResendable, RowNotFound

TOO_OLD = "The scan was too old when the channel was released."


def delivery(session: Session, delivery_id: int) -> DeliveryRow:
    """Return a delivery with its objects; raises RowNotFound."""
    row = _delivery(session, delivery_id)
    return delivery_row(row, row.result.study.study_instance_uid)


def mark_object(
    session: Session, delivery_id: int, object_id: int, state: ObjectState, status_code: int | None = None
) -> None:
    """Set the state of one object of a delivery, with the status that the peer gave; raises RowNotFound."""
    row = _delivery(session, delivery_id, lock=True)
    entry = session.get(DeliveryObject, (delivery_id, object_id), populate_existing=True)
    if entry is None:
        raise RowNotFound
    now = database_now(session)
    changed = entry.state != state or entry.status_code != status_code
    entry.state, entry.updated_at = state, now
    entry.status_code = entry.status_code if status_code is None else status_code
    if changed and state == "failed":
        # The study's page must say what a peer refused; that the others were sent shows in the delivery itself.
        detail = {"destination": row.destination, "object": entry.object.kind, "status_code": status_code}
        _event(session, row.result, "delivery", row.id, "object_failed", detail, now)


def mark_delivery(session: Session, delivery_id: int, state: DeliveryState, error: str = "") -> None:
    """Set a delivery's state; one that was withdrawn stays so. Raises RowNotFound."""
    row = _delivery(session, delivery_id, lock=True)
    if row.state == "withdrawn":
        return  # what it carries speaks in a name that was wrong, wherever the job in hand stands
    now = database_now(session)
    changed = row.state != state or row.error != error
    row.state, row.error, row.updated_at = state, error, now
    if changed:
        detail = {"destination": row.destination, **({"text": error} if error else {})}
        _event(session, row.result, "delivery", row.id, f"delivery_{state}", detail, now)


def resend(session: Session, study_instance_uid: str, delivery_id: int, *, by: str) -> int:
    """Let a delivery that ended go out again, with what the peer refused; return the job's id.

    `by` is the user who asked.

    Raises:
        RowNotFound: the study has no such delivery.
        NotResendable: the peer refused nothing, or what it carries was superseded: nobody is to read it any more.
    """
    row = _delivery(session, delivery_id, lock=True)
    if row.result.study.study_instance_uid != study_instance_uid:
        raise RowNotFound
    if not delivery_row(row, study_instance_uid).resendable or row.result.superseded_by_id is not None:
        raise NotResendable
    now = database_now(session)
    for item in row.objects:
        if item.state == "failed":
            item.state, item.updated_at = "pending", now
    detail = {"destination": row.destination, "by": by}
    _event(session, row.result, "delivery", row.id, "resend_asked", detail, now)
    mark_delivery(session, delivery_id, "pending")
    return enqueue(
        session, queue="deliver", kind="deliver", study_instance_uid=study_instance_uid, subject_id=delivery_id
    )


def alert(session: Session, alert_id: int) -> AlertRow:
    """Return an alert; raises RowNotFound."""
    row = _alert(session, alert_id)
    return alert_row(row, row.result.study.study_instance_uid)


def mark_alert(session: Session, alert_id: int, state: AlertState, error: str = "") -> None:
    """Set an alert's state; one that was acknowledged, escalated or withdrawn stays so. Raises RowNotFound."""
    row = _alert(session, alert_id, lock=True)
    now = database_now(session)
    if row.state in {"acknowledged", "escalated", "withdrawn"} and state in {"pending", "sent", "failed"}:
        # A person may read a message, or a later result replace it, before the sender has noted that it went out.
        row.sent_at = now if state == "sent" and row.sent_at is None else row.sent_at
        return
    if state == "sent" and row.sent_at is None:
        row.sent_at = now
    if state == "sent" and row.acknowledged_at is not None:
        state = "acknowledged"  # its provisional message was read
    changed = row.state != state or row.error != error
    row.state, row.error, row.updated_at = state, error, now
    if state == "escalated" and row.escalated_at is None:
        row.escalated_at = now
    if changed:
        detail = {"channel": row.channel, **({"text": error} if error else {})}
        _event(session, row.result, "alert", row.id, f"alert_{state}", detail, now)


def acknowledge_alert(session: Session, alert_id: int, by: str) -> AlertRow:
    """Record that a person has read an alert; the first acknowledgement stands, and so does a withdrawal.

    Raises:
        RowNotFound: there is no such alert.
    """
    row = _alert(session, alert_id, lock=True)
    if row.acknowledged_at is None:
        now = database_now(session)
        row.acknowledged_at, row.acknowledged_by = now, by
        row.state = row.state if row.state == "withdrawn" else "acknowledged"
        row.updated_at = now
        detail = {"channel": row.channel, "by": by}
        _event(session, row.result, "alert", row.id, "alert_acknowledged", detail, now)
    return alert_row(row, row.result.study.study_instance_uid)


def release(session: Session, name: str, *, scanned_since: datetime | None = None) -> int:
    """Let go what is held for a destination or a channel; return how many jobs that made.

    What belongs to a superseded result stays where it is: nobody is to read it any more. Alerts about older scans than
    `scanned_since` are withdrawn: alerts are for patients now in the house.
    """
    held = (
        select(Delivery)
        .join(Result, Delivery.result_id == Result.id)
        .where(Delivery.destination == name, Delivery.state == "held", Result.superseded_by_id.is_(None))
        .order_by(Delivery.id)
    )
    deliveries = session.scalars(held).all()
    for row in deliveries:
        mark_delivery(session, row.id, "pending")
        uid = row.result.study.study_instance_uid
        enqueue(session, queue="deliver", kind="deliver", study_instance_uid=uid, subject_id=row.id)
    silent = (
        select(Alert)
        .join(Result, Alert.result_id == Result.id)
        .where(Alert.channel == name, Alert.state == "held", Result.superseded_by_id.is_(None))
        .order_by(Alert.id)
    )
    alerts = session.scalars(silent).all()
    called = 0
    for item in alerts:
        if scanned_since is not None and datetime.fromisoformat(json.loads(item.body)["scanned_at"]) < scanned_since:
            mark_alert(session, item.id, "withdrawn", TOO_OLD)
            continue
        called += 1
        mark_alert(session, item.id, "pending")
        uid = item.result.study.study_instance_uid
        enqueue(
            session,
            queue="deliver",
            kind="alert",
            study_instance_uid=uid,
            subject_id=item.id,
            priority=ALERT_PRIORITY,
        )
    return len(deliveries) + called


def _delivery(session: Session, delivery_id: int, *, lock: bool = False) -> Delivery:
    of_study = select(Result.study_id).join(Delivery, Delivery.result_id == Result.id).where(Delivery.id == delivery_id)
    study_id = session.scalars(of_study).one_or_none()
    if study_id is None:
        raise RowNotFound
    if lock:
        lock_study(session, study_id)
    return session.get_one(Delivery, delivery_id, populate_existing=lock)


def _alert(session: Session, alert_id: int, *, lock: bool = False) -> Alert:
    # Who sends and who acknowledges may come at the same moment: the later one must see what the earlier one wrote.
    of_study = select(Result.study_id).join(Alert, Alert.result_id == Result.id).where(Alert.id == alert_id)
    study_id = session.scalars(of_study).one_or_none()
    if study_id is None:
        raise RowNotFound
    if lock:
        lock_study(session, study_id)
    return session.get_one(Alert, alert_id, populate_existing=lock)


def _event(  # one argument per column
    session: Session, result: Result, subject: str, key: int, name: str, detail: Mapping[str, Any], now: datetime
) -> None:
    add_event(session, at=now, study_id=result.study_id, subject=subject, subject_key=key, name=name, detail=detail)
