"""What an administrator is told about a study: that it came and has no result, or that its result did not arrive."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.jobs import enqueue
from ichor.catalogue.results import ALERT_PRIORITY
from ichor.catalogue.rows import study_by_uid
from ichor.catalogue.schema import Alert, Delivery, Notice, Result, Study
from ichor.errors import RowNotFound

UNRESOLVED = "unresolved"
UNDELIVERED = "undelivered"
UNRESOLVED_STATES = ("receiving", "ready", "queued", "running")
BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A study with images that ended in no result, or whose result did not get where it should."""

    kind: str
    """UNRESOLVED or UNDELIVERED."""
    study_instance_uid: str
    accession_number: str
    state: str
    input_version: int
    last_received_at: datetime
    names: tuple[str, ...] = ()
    """The destinations and channels that lack it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """One message to one administrator channel."""

    id: int
    channel: str
    body: bytes
    state: str


def unresolved(session: Session, channel: str, *, older_than_s: float) -> tuple[Trouble, ...]:
    """Return the studies with images that are unresolved for this long, and that the channel was not told of."""
    query = (
        select(Study)
        .where(
            Study.input_version > 0,
            _without_result(),
            Study.last_received_at <= database_now(session) - timedelta(seconds=older_than_s),
            ~_told(channel, UNRESOLVED),
        )
        .order_by(Study.last_received_at, Study.id)
        .limit(BATCH)
    )
    return tuple(_trouble(row, UNRESOLVED) for row in session.scalars(query))


def undelivered(session: Session, channel: str, *, older_than_s: float) -> tuple[Trouble, ...]:
    """Return the studies whose present results have not reached a destination or alert channel for this long.

    What is held is not missed, nor what a peer took and cannot show.
    """
    since = database_now(session) - timedelta(seconds=older_than_s)
    names: dict[int, set[str]] = defaultdict(set)
    for table, name in ((Delivery, Delivery.destination), (Alert, Alert.channel)):
        query = (
            select(Result.study_id, name)
            .join(table, table.result_id == Result.id)
            .where(
                table.state.in_(("pending", "failed")),
                table.created_at <= since,
                Result.superseded_by_id.is_(None),
            )
            .join(Study, Result.study_id == Study.id)
            .where(~_told(channel, UNDELIVERED))
            .order_by(Result.study_id)
            .limit(BATCH)
        )
        for study_id, missing in session.execute(query):
            names[study_id].add(missing)
    studies = session.scalars(select(Study).where(Study.id.in_(names)).order_by(Study.last_received_at, Study.id))
    return tuple(_trouble(row, UNDELIVERED, tuple(sorted(names[row.id]))) for row in studies)


def record(session: Session, trouble: Trouble, *, channel: str, body: bytes) -> int:
    """Record a notice with its job; return 0 where the study was resolved or the channel told meanwhile.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    study = study_by_uid(session, trouble.study_instance_uid, lock=True)
    stands = select(Study.id).where(
        Study.id == study.id,
        ~_told(channel, trouble.kind),
        *([_without_result()] if trouble.kind == UNRESOLVED else []),
    )
    if session.scalars(stands).first() is None:
        return 0
    now = database_now(session)
    row = Notice(
        study_id=study.id,
        channel=channel,
        kind=trouble.kind,
        input_version=study.input_version,
        body=body,
        state="pending",
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    _event(session, row, f"study_{trouble.kind}", now)
    enqueue(
        session,
        queue="deliver",
        kind="notice",
        study_instance_uid=study.study_instance_uid,
        subject_id=row.id,
        priority=ALERT_PRIORITY,
    )
    return 1


def _without_result() -> ColumnElement[bool]:
    """Whether a study is under way, or failed without a result of its present input that says so."""
    says_so = exists().where(Result.id == Study.latest_result_id, Result.input_version >= Study.input_version)
    return or_(Study.state.in_(UNRESOLVED_STATES), and_(Study.state == "failed", ~says_so))


def _told(channel: str, kind: str) -> ColumnElement[bool]:
    return exists().where(
        Notice.study_id == Study.id,
        Notice.channel == channel,
        Notice.kind == kind,
        Notice.input_version == Study.input_version,
    )


def _trouble(row: Study, kind: str, names: tuple[str, ...] = ()) -> Trouble:
    return Trouble(
        kind=kind,
        study_instance_uid=row.study_instance_uid,
        accession_number=row.accession_number,
        state=row.state,
        input_version=row.input_version,
        last_received_at=row.last_received_at,
        names=names,
    )


def notice(session: Session, notice_id: int) -> NoticeRow:
    """Return a notice; raises RowNotFound."""
    row = _get(session, notice_id)
    return NoticeRow(id=row.id, channel=row.channel, body=row.body, state=row.state)


def mark_sent(session: Session, notice_id: int) -> None:
    """Write down that the channel took a notice; raises RowNotFound."""
    row = _get(session, notice_id)
    if row.state != "sent":
        row.state, row.updated_at = "sent", database_now(session)
        _event(session, row, "notice_sent", row.updated_at)


def _get(session: Session, notice_id: int) -> Notice:
    row = session.get(Notice, notice_id)
    if row is None:
        raise RowNotFound
    return row


def _event(session: Session, row: Notice, name: str, at: datetime) -> None:
    add_event(
        session,
        at=at,
        study_id=row.study_id,
        subject="notice",
        subject_key=row.id,
        name=name,
        detail={"channel": row.channel},
    )
