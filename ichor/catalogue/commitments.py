"""Requests for storage commitment and their answers: who asks and who hears the answer are two processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.jobs import hasten
from ichor.catalogue.rows import lock_study
from ichor.catalogue.schema import Commitment, Delivery, Result
from ichor.errors import RowNotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentRow:
    """One request; `age_s` is on the database's clock."""

    transaction_uid: str
    age_s: float
    answered_at: datetime | None
    committed: frozenset[str]


def ask(session: Session, delivery_id: int, transaction_uid: str) -> None:
    """Record a request before it goes out: the answer may be quicker than its sender."""
    session.add(
        Commitment(transaction_uid=transaction_uid, delivery_id=delivery_id, requested_at=database_now(session))
    )


def forget(session: Session, transaction_uid: str) -> None:
    """Take back a request that the peer did not accept."""
    session.execute(delete(Commitment).where(Commitment.transaction_uid == transaction_uid))


def latest(session: Session, delivery_id: int) -> CommitmentRow | None:
    """Return the last request about a delivery."""
    query = (
        select(Commitment)
        .where(Commitment.delivery_id == delivery_id)
        .order_by(Commitment.requested_at.desc(), Commitment.transaction_uid)
        .limit(1)
    )
    row = session.scalars(query).one_or_none()
    if row is None:
        return None
    return CommitmentRow(
        transaction_uid=row.transaction_uid,
        age_s=(database_now(session) - row.requested_at).total_seconds(),
        answered_at=row.answered_at,
        committed=frozenset(row.answer.get("committed", ())),
    )


def answered(session: Session, transaction_uid: str, *, committed: Collection[str], failed: Mapping[str, int]) -> None:
    """Record an answer, and let the delivery that waits for it go on; the first answer stands.

    Raises:
        RowNotFound: nobody asked under this transaction UID.
    """
    query = (
        select(Delivery, Result.study_id)
        .join(Commitment, Commitment.delivery_id == Delivery.id)
        .join(Result, Delivery.result_id == Result.id)
        .where(Commitment.transaction_uid == transaction_uid)
    )
    found = session.execute(query).one_or_none()
    if found is None:
        raise RowNotFound
    delivery, study_id = found
    lock_study(session, study_id)
    row = session.get_one(Commitment, transaction_uid, populate_existing=True)
    if row.answered_at is not None:
        return
    now = database_now(session)
    row.answered_at = now
    row.answer = {"committed": sorted(committed), "failed": dict(failed)}
    detail = {"destination": delivery.destination, "committed": len(committed), "failed": len(failed)}
    add_event(
        session,
        at=now,
        study_id=study_id,
        subject="delivery",
        subject_key=delivery.id,
        name="commitment_answered",
        detail=detail,
    )
    hasten(session, kind="deliver", subject_id=delivery.id)
