"""Jobs and their leases, all on the database's clock.

A job is ready, running under a lease, or closed. Per study there is at most one running analysis and one ready behind
it; the schema's unique indexes guard both. A lease that expired makes its job ready again; a job whose worker died that
way too often is given up, so that the lane goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event, set_study_state
from ichor.catalogue.records import Job, JobKind, Queue
from ichor.catalogue.rows import claimed_job, lock_study, study_by_uid
from ichor.catalogue.schema import Alert, Delivery, Event, JobEntry, Notice, Result, Study
from ichor.errors import LeaseLost, PeerUnreachable

_SUBJECTS: Mapping[str, type[Delivery | Alert | Notice]] = {"deliver": Delivery, "alert": Alert, "notice": Notice}
"""What a job of the delivery queue is about."""
OPEN_DELIVERIES = ("pending", "sent")
EXPIRED, EXCUSED = "job_lease_expired", "job_lease_excused"
WORKER_LOST = "worker_lost"
WORKER_LOST_TEXT = "the worker ended {count} times while at it"


def enqueue(  # noqa: PLR0913  # one argument per property of a job
    session: Session,
    *,
    queue: Queue,
    kind: JobKind,
    study_instance_uid: str,
    subject_id: int | None = None,
    final: bool = False,
    force: bool = False,
    priority: int = 0,
) -> int:
    """Add a job, or merge into the one about the same subject that is still ready; return its id.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    study = study_by_uid(session, study_instance_uid, lock=True)
    now = database_now(session)
    rank = -max(priority, study.priority)
    job = session.scalars(
        select(JobEntry)
        .where(
            JobEntry.queue == queue,
            JobEntry.kind == kind,
            JobEntry.study_id == study.id,
            JobEntry.subject_id == subject_id,
            JobEntry.state == "ready",
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if job is None:
        job = JobEntry(
            queue=queue,
            kind=kind,
            study_id=study.id,
            subject_id=subject_id,
            final=final,
            force=force,
            state="ready",
            rank=rank,
            created_at=now,
            not_before=now,
        )
        session.add(job)
        session.flush()
        _event(session, job, "job_queued", now, {"kind": kind, "final": final, "force": force})
    else:
        job.final = job.final or final
        job.force = job.force or force
        job.rank = min(job.rank, rank)
        job.not_before = min(job.not_before, now)
    if queue == "analyse":
        set_study_state(session, study, "queued", at=now)
    return job.id


def claim(
    session: Session,
    *,
    queue: Queue,
    owner: str,
    ttl_s: float,
    max_attempts: int = 5,
    waiting_for_s: float | None = None,
) -> Job | None:
    """Take the most urgent job that is due, with a lease of `ttl_s`.

    With `waiting_for_s`, the oldest that has been due for so long comes before the most urgent one.

    Jobs whose lease expired are made ready first; those on which that happened `max_attempts` times fail instead,
    and with them their study, delivery or alert.
    """
    now = database_now(session)
    _sweep_expired(session, queue, max_attempts, now)
    session.flush()
    other = aliased(JobEntry)
    busy = exists().where(other.study_id == JobEntry.study_id, other.queue == "analyse", other.state == "running")
    due = [JobEntry.queue == queue, JobEntry.state == "ready", JobEntry.not_before <= now]
    claimable = (
        select(JobEntry, Study)
        .join(Study, JobEntry.study_id == Study.id)
        .where(*due, *([~busy] if queue == "analyse" else []))
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    row = None
    if waiting_for_s is not None:
        waiting = JobEntry.not_before <= now - timedelta(seconds=waiting_for_s)
        row = session.execute(claimable.where(waiting).order_by(JobEntry.not_before, JobEntry.id)).one_or_none()
    if row is None:
        row = session.execute(claimable.order_by(JobEntry.rank, JobEntry.id)).one_or_none()
    if row is None:
        return None
    job, study = row
    job.state = "running"
    job.attempt += 1
    job.lease_owner = owner
    job.lease_expires_at = now + timedelta(seconds=ttl_s)
    _event(session, job, "job_started", now, {"kind": job.kind, "attempt": job.attempt, "worker": owner})
    if queue == "analyse":
        set_study_state(session, study, "running", at=now)
    session.flush()
    return claimed_job(job, study, owner)


def renew(session: Session, job_id: int, owner: str, ttl_s: float) -> bool:
    """Prolong the lease from now; False where the job is no longer this owner's."""
    renewed = session.execute(
        update(JobEntry)
        .where(JobEntry.id == job_id, JobEntry.state == "running", JobEntry.lease_owner == owner)
        .values(lease_expires_at=database_now(session) + timedelta(seconds=ttl_s))
        .returning(JobEntry.id)
    )
    return renewed.one_or_none() is not None


def finish(session: Session, job_id: int, owner: str) -> None:
    """Close a job as done; a study that got no result from it is ready again.

    Raises:
        LeaseLost: the job is no longer this owner's.
    """
    job, study, now = _held(session, job_id, owner)
    _close(job, "done", now)
    _event(session, job, "job_done", now, {"kind": job.kind})
    if job.queue == "analyse":
        _leave_running(session, study, now)


def retry_later(session: Session, job_id: int, owner: str, *, error_code: str, error_text: str, delay_s: float) -> None:
    """Make a job ready again after a delay, with the reason.

    Raises:
        LeaseLost: the job is no longer this owner's.
    """
    job, study, now = _held(session, job_id, owner)
    job.error_code, job.error_text = error_code, error_text
    _make_ready(session, job, study, now + timedelta(seconds=delay_s), now)
    detail = {"kind": job.kind, "attempt": job.attempt, "code": error_code, "text": error_text, "delay_s": delay_s}
    _event(session, job, "job_delayed", now, detail)


def release_lease(session: Session, job_id: int, owner: str, *, delay_s: float = 0.0) -> None:
    """Make a job ready again, at once as a worker that drains does, or after a delay; it counts as no attempt.

    Raises:
        LeaseLost: the job is no longer this owner's.
    """
    job, study, now = _held(session, job_id, owner)
    job.attempt -= 1
    _make_ready(session, job, study, now + timedelta(seconds=delay_s), now)
    _event(session, job, "job_released", now, {"kind": job.kind})


def excuse(session: Session, job_id: int, owner: str) -> None:
    """Take back that this owner's lease expired: it lives, and could not renew because the catalogue was away.

    Does nothing where no lease of this owner expired, and where the job was closed since.
    """
    study = lock_study(session, session.scalars(select(JobEntry.study_id).where(JobEntry.id == job_id)).one())
    job = session.scalars(
        select(JobEntry).where(JobEntry.id == job_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    said = session.execute(
        select(Event.name, Event.detail).where(
            Event.study_id == study.id, Event.subject == "job", Event.subject_key == str(job_id)
        )
    ).all()
    of_owner = [name for name, detail in said if detail.get("worker") == owner]
    unexcused = of_owner.count(EXPIRED) - of_owner.count(EXCUSED)
    if job.state in {"ready", "running"} and unexcused > 0:
        job.expiries -= 1
        _event(session, job, EXCUSED, database_now(session), {"kind": job.kind, "worker": owner})


def fail(session: Session, job_id: int, owner: str, *, error_code: str, error_text: str) -> None:
    """Close a job as failed, and with it its study, delivery or alert.

    Raises:
        LeaseLost: the job is no longer this owner's.
    """
    job, study, now = _held(session, job_id, owner)
    _give_up(session, job, study, error_code, error_text, now)


def hasten(session: Session, *, kind: JobKind, subject_id: int) -> None:
    """Let a job that waits for its time be due now: what it waited for has come."""
    session.execute(
        update(JobEntry)
        .where(JobEntry.kind == kind, JobEntry.subject_id == subject_id, JobEntry.state == "ready")
        .values(not_before=database_now(session))
    )


def hasten_waiting(session: Session, destination: str) -> None:
    """Let every delivery that waits because this destination did not answer be due now: urgent ones go first."""
    now = database_now(session)
    of_destination = select(Delivery.id).where(Delivery.destination == destination, Delivery.state.in_(OPEN_DELIVERIES))
    session.execute(
        update(JobEntry)
        .where(
            JobEntry.queue == "deliver",
            JobEntry.state == "ready",
            JobEntry.kind == "deliver",
            JobEntry.error_code == PeerUnreachable.code,
            JobEntry.not_before > now,
            JobEntry.subject_id.in_(of_destination),
        )
        .values(not_before=now)
    )


def ready_count(session: Session, queue: Queue) -> int:
    """Return how many jobs wait for a worker now: ready and due, or with a lease that expired."""
    return _waiting(session, queue, database_now(session))


def overdue(session: Session, queue: Queue, *, older_than_s: float) -> int:
    """Return how many jobs have waited for a worker for longer than this."""
    return _waiting(session, queue, database_now(session) - timedelta(seconds=older_than_s))


def failed_without_result(session: Session) -> tuple[str, ...]:
    """Return the studies that failed and have no result of their present input that says so."""
    query = (
        select(Study.study_instance_uid)
        .outerjoin(Result, Study.latest_result_id == Result.id)
        .where(Study.state == "failed", or_(Result.id.is_(None), Result.input_version < Study.input_version))
        .order_by(Study.id)
    )
    return tuple(session.scalars(query))


def _waiting(session: Session, queue: Queue, since: datetime) -> int:
    other = aliased(JobEntry)
    busy = exists().where(other.study_id == JobEntry.study_id, other.queue == "analyse", other.state == "running")
    ready = [JobEntry.state == "ready", JobEntry.not_before <= since, *([~busy] if queue == "analyse" else [])]
    counts = [
        select(func.count()).select_from(JobEntry).where(JobEntry.queue == queue, *ready),
        select(func.count())
        .select_from(JobEntry)
        .where(JobEntry.queue == queue, JobEntry.state == "running", JobEntry.lease_expires_at <= since),
    ]
    return sum(session.scalars(count).one() for count in counts)


def _sweep_expired(session: Session, queue: Queue, max_attempts: int, now: datetime) -> None:
    expired = session.execute(
        select(JobEntry, Study)
        .join(Study, JobEntry.study_id == Study.id)
        .where(JobEntry.queue == queue, JobEntry.state == "running", JobEntry.lease_expires_at <= now)
        .order_by(JobEntry.id)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    for job, study in expired.all():
        job.expiries += 1
        _event(session, job, EXPIRED, now, {"kind": job.kind, "worker": job.lease_owner})
        if job.expiries >= max_attempts:
            _give_up(session, job, study, WORKER_LOST, WORKER_LOST_TEXT.format(count=job.expiries), now)
        else:
            _make_ready(session, job, study, now, now)


def _held(session: Session, job_id: int, owner: str) -> tuple[JobEntry, Study, datetime]:
    study_id = session.scalars(select(JobEntry.study_id).where(JobEntry.id == job_id)).one_or_none()
    if study_id is None:
        raise LeaseLost
    study = lock_study(session, study_id)
    job = session.scalars(
        select(JobEntry).where(JobEntry.id == job_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    if job.state != "running" or job.lease_owner != owner:
        raise LeaseLost
    return job, study, database_now(session)


def _make_ready(session: Session, job: JobEntry, study: Study, not_before: datetime, now: datetime) -> None:
    """Make a running job ready; the one that waits behind it is merged into it, with its urgency."""
    if job.queue == "analyse":
        behind = _ready_analysis(session, study)
        if behind is not None:
            job.final = job.final or behind.final
            job.force = job.force or behind.force
            job.rank = min(job.rank, behind.rank)
            _close(behind, "superseded", now)
            _event(session, behind, "job_superseded", now, {"by": job.id})
            # The database allows one ready analysis per study: the other one must be closed before.
            session.flush()
        if study.state == "running":
            set_study_state(session, study, "queued", at=now)
    job.state = "ready"
    job.not_before = not_before
    job.lease_owner = None
    job.lease_expires_at = None
    session.flush()


def _give_up(session: Session, job: JobEntry, study: Study, error_code: str, error_text: str, now: datetime) -> None:
    _close(job, "failed", now)
    job.error_code, job.error_text = error_code, error_text
    detail = {"code": error_code, "text": error_text}
    _event(session, job, "job_failed", now, {"kind": job.kind, "attempt": job.attempt, **detail})
    if job.queue == "analyse":
        if _ready_analysis(session, study) is None:
            set_study_state(session, study, "failed", at=now, detail=detail)
        else:
            _leave_running(session, study, now)
        return
    subject: Delivery | Alert | Notice | None = session.get(_SUBJECTS[job.kind], job.subject_id)  # type: ignore[assignment]  # one of the three
    # An alert that was sent is done; a delivery that was sent still waits for its proof.
    if subject is not None and subject.state in ({"pending", "sent"} if job.kind == "deliver" else {"pending"}):
        subject.state, subject.error, subject.updated_at = "failed", error_text, now
        name = "delivery" if job.kind == "deliver" else job.kind
        add_event(
            session,
            at=now,
            study_id=study.id,
            subject=name,
            subject_key=subject.id,
            name=f"{name}_failed",
            detail=detail,
        )


def _ready_analysis(session: Session, study: Study) -> JobEntry | None:
    query = select(JobEntry).where(
        JobEntry.study_id == study.id, JobEntry.queue == "analyse", JobEntry.state == "ready"
    )
    return session.scalars(query).one_or_none()


def _leave_running(session: Session, study: Study, now: datetime) -> None:
    if study.state == "running":
        set_study_state(session, study, "ready" if _ready_analysis(session, study) is None else "queued", at=now)


def _close(job: JobEntry, state: str, now: datetime) -> None:
    job.state = state
    job.finished_at = now
    job.lease_owner = None
    job.lease_expires_at = None


def _event(session: Session, job: JobEntry, name: str, at: datetime, detail: dict[str, object]) -> None:
    add_event(session, at=at, study_id=job.study_id, subject="job", subject_key=job.id, name=name, detail=detail)
