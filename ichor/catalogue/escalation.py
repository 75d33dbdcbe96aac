"""Alerts that nobody has acknowledged, and who is told next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.jobs import enqueue
from ichor.catalogue.results import ALERT_PRIORITY
from ichor.catalogue.rows import lock_study
from ichor.catalogue.schema import Alert, Result
from ichor.errors import RowNotFound

OPEN_STATES = ("pending", "sent", "escalated", "failed")
CALLING_EVENTS = ("haemorrhage_suspected", "corrected")
WINDOW = timedelta(hours=24)
"""An alert that nobody answered for a day calls nobody any more: alerts are for patients now in the house."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """An alert that waits for a person."""

    alert_id: int
    study_instance_uid: str
    accession_number: str
    body: bytes
    told: frozenset[str]
    """The channels that its message has gone to, or is going to."""
    silent_s: float
    """How long the last of them has been silent; endless where none of them could be told."""


def unanswered(session: Session, channel: str) -> tuple[Unanswered, ...]:
    """Return the alerts of a channel that stand, call somebody, and were acknowledged on no channel."""
    now = database_now(session)
    query = (
        select(Alert)
        .join(Result, Alert.result_id == Result.id)
        .where(
            Alert.state.in_(OPEN_STATES),
            Alert.channel == channel,
            Alert.event.in_(CALLING_EVENTS),
            Alert.created_at > now - WINDOW,
            Result.superseded_by_id.is_(None),
        )
        .order_by(Alert.id)
    )
    waiting = []
    for row in session.scalars(query):
        chain = _chain(session, row)
        if any(item.acknowledged_at is not None for item in chain):
            continue
        last = chain[-1]
        waiting.append(
            Unanswered(
                alert_id=row.id,
                study_instance_uid=row.result.study.study_instance_uid,
                accession_number=row.result.study.accession_number,
                body=row.body,
                told=_told(session, row),
                silent_s=float("inf") if last.state == "failed" else (now - _since(last)).total_seconds(),
            )
        )
    return tuple(waiting)


def escalate(session: Session, alert_id: int, *, channel: str, body: bytes) -> int:
    """Tell another channel, under the same id; return 0 where somebody has acknowledged or told it meanwhile.

    Raises:
        RowNotFound: there is no such alert.
    """
    query = select(Result.study_id).join(Alert, Alert.result_id == Result.id).where(Alert.id == alert_id)
    study_id = session.scalars(query).one_or_none()
    if study_id is None:
        raise RowNotFound
    study = lock_study(session, study_id)
    row = session.get_one(Alert, alert_id, populate_existing=True)
    chain = _chain(session, row)
    if channel in _told(session, row) or any(item.acknowledged_at is not None for item in chain):
        return 0
    now = database_now(session)
    if row.state == "sent":
        row.state = "escalated"
    row.escalated_at, row.updated_at = now, now
    further = Alert(
        result_id=row.result_id,
        channel=channel,
        alert_uid=row.alert_uid,
        event=row.event,
        provisional=row.provisional,
        body=body,
        state="pending",
        created_at=now,
        updated_at=now,
    )
    session.add(further)
    session.flush()
    detail = {"channel": row.channel, "to": channel}
    add_event(
        session, at=now, study_id=study.id, subject="alert", subject_key=row.id, name="alert_escalated", detail=detail
    )
    enqueue(
        session,
        queue="deliver",
        kind="alert",
        study_instance_uid=study.study_instance_uid,
        subject_id=further.id,
        priority=ALERT_PRIORITY,
    )
    return 1


def _chain(session: Session, row: Alert) -> list[Alert]:
    query = select(Alert).where(
        Alert.alert_uid == row.alert_uid, Alert.event == row.event, Alert.result_id == row.result_id
    )
    return list(session.scalars(query.order_by(Alert.id).execution_options(populate_existing=True)))


def _told(session: Session, row: Alert) -> frozenset[str]:
    """Give who has a message about this, also through another list that leads to the same channel."""
    query = select(Alert.channel).where(
        Alert.result_id == row.result_id, Alert.event == row.event, Alert.provisional == row.provisional
    )
    return frozenset(session.scalars(query))


def _since(row: Alert) -> datetime:
    return row.created_at if row.sent_at is None else row.sent_at
