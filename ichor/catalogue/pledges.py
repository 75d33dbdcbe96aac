"""What senders asked the node to answer for (storage commitment, PS3.4 J), until they have heard the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.schema import Instance, Pledge

KEPT_DAYS = 7
"""How long a closed request is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PledgeRow:
    """One request; `wanted` are pairs of SOP Class UID and SOP Instance UID."""

    id: int
    transaction_uid: str
    calling_ae: str
    called_ae: str
    address: str
    wanted: tuple[tuple[str, str], ...]
    attempts: int
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldInstance:
    """The content that counts under a SOP Instance UID."""

    sop_class_uid: str
    sha256: str
    path: str


def record(
    session: Session,
    *,
    transaction_uid: str,
    calling_ae: str,
    called_ae: str,
    address: str,
    wanted: Sequence[tuple[str, str]],
    due_in_s: float,
) -> PledgeRow:
    """Record a request before it is accepted; one that comes again is answered again.

    `due_in_s` is when another process may take it up, should this one die over it.
    """
    now = database_now(session)
    session.execute(delete(Pledge).where(Pledge.closed_at < now - timedelta(days=KEPT_DAYS)))
    row = session.scalars(
        select(Pledge).where(Pledge.transaction_uid == transaction_uid, Pledge.calling_ae == calling_ae)
    ).one_or_none()
    if row is None:
        row = Pledge(transaction_uid=transaction_uid, calling_ae=calling_ae, requested_at=now)
        session.add(row)
    row.called_ae, row.address, row.wanted = called_ae, address, [list(pair) for pair in wanted]
    row.attempts, row.closed_at, row.due_at = 1, None, now + timedelta(seconds=due_in_s)
    session.flush()
    return _row(row, age_s=0.0)


def claim_due(session: Session, *, again_in_s: float) -> PledgeRow | None:
    """Take up one request that is due; it is due again after `again_in_s`, unless it is closed before."""
    now = database_now(session)
    row = session.scalars(
        select(Pledge)
        .where(Pledge.closed_at.is_(None), Pledge.due_at <= now)
        .order_by(Pledge.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    row.attempts += 1
    row.due_at = now + timedelta(seconds=again_in_s)
    return _row(row, age_s=(now - row.requested_at).total_seconds())


def postpone(session: Session, pledge_id: int, *, due_in_s: float) -> None:
    """Let a request be taken up again after this time."""
    session.get_one(Pledge, pledge_id).due_at = database_now(session) + timedelta(seconds=due_in_s)


def close(session: Session, pledge_id: int) -> None:
    """Mark a request as done with."""
    session.get_one(Pledge, pledge_id).closed_at = database_now(session)


def held_instances(session: Session, sop_instance_uids: Sequence[str]) -> dict[str, HeldInstance]:
    """Return what counts now under these UIDs; those that are not known are left out."""
    rows = session.execute(
        select(Instance.sop_instance_uid, Instance.sop_class_uid, Instance.sha256, Instance.path).where(
            Instance.sop_instance_uid.in_(sop_instance_uids), Instance.superseded_at.is_(None)
        )
    )
    return {
        row.sop_instance_uid: HeldInstance(sop_class_uid=row.sop_class_uid, sha256=row.sha256, path=row.path)
        for row in rows
    }


def _row(row: Pledge, *, age_s: float) -> PledgeRow:
    return PledgeRow(
        id=row.id,
        transaction_uid=row.transaction_uid,
        calling_ae=row.calling_ae,
        called_ae=row.called_ae,
        address=row.address,
        wanted=tuple((pair[0], pair[1]) for pair in row.wanted),
        attempts=row.attempts,
        age_s=age_s,
    )
