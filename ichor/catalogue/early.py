"""Early looks: a series whose association was released may be analysed before it has settled.

A look is worth it once for each input, while the study has no result. What comes of it is provisional until the series
has settled.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.jobs import enqueue
from ichor.catalogue.lanes import StatRule, put_into_lane
from ichor.catalogue.schema import Alert, Result, Series, Study

RELEASED: ColumnElement[bool] = and_(Series.state == "receiving", Series.released_at >= Series.last_received_at)
"""Not settled, and no slice came since the association that brought the others was released."""
BATCH = 100
FINAL_WENT_OUT = "Replaced by the final message."


def release_series(session: Session, study_instance_uid: str, series_instance_uid: str) -> None:
    """Note that the sender of a series' slices has released its association; unknown series are passed over.

    The study's row is locked first, as by all who write about it; two studies in one transaction could wait in a ring.
    """
    session.scalars(select(Study.id).where(Study.study_instance_uid == study_instance_uid).with_for_update()).all()
    query = (
        select(Series)
        .join(Study, Series.study_id == Study.id)
        .where(Study.study_instance_uid == study_instance_uid, Series.series_instance_uid == series_instance_uid)
    )
    series = session.scalars(query).one_or_none()
    if series is None or series.state != "receiving" or not series.has_images:
        return
    series.released_at = database_now(session)
    add_event(
        session,
        at=series.released_at,
        study_id=series.study_id,
        subject="series",
        subject_key=series_instance_uid,
        name="series_released",
        detail={"instances": series.instance_count},
    )


def ask_early(session: Session, *, stat: StatRule) -> int:
    """Enqueue an analysis of each study without a result that has a released series; return how many."""
    has_result = exists().where(Result.study_id == Study.id)
    query = (
        select(Study)
        .join(Series, Series.study_id == Study.id)
        .where(RELEASED, Study.early_version < Study.input_version, ~has_result)
        .order_by(Study.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True, of=Study)
        .execution_options(populate_existing=True)
    )
    studies = {study.id: study for study in session.scalars(query)}
    now = database_now(session)
    for study in studies.values():
        study.early_version = study.input_version
        put_into_lane(session, study, stat, at=now)
        enqueue(session, queue="analyse", kind="analyse", study_instance_uid=study.study_instance_uid)
    return len(studies)


def released_series(session: Session, study_id: int) -> frozenset[str]:
    """Return the Series Instance UIDs of a study's released series."""
    return frozenset(session.scalars(select(Series.series_instance_uid).where(Series.study_id == study_id, RELEASED)))


def has_settled(session: Session, study_instance_uid: str, series_instance_uid: str) -> bool:
    """Return whether a series is settled now."""
    query = (
        select(Series.id)
        .join(Study, Series.study_id == Study.id)
        .where(
            Study.study_instance_uid == study_instance_uid,
            Series.series_instance_uid == series_instance_uid,
            Series.state == "settled",
        )
    )
    return session.scalars(query).first() is not None


def has_result(session: Session, study_instance_uid: str) -> bool:
    """Return whether a study has any result."""
    query = select(Result.id).join(Study, Result.study_id == Study.id)
    return session.scalars(query.where(Study.study_instance_uid == study_instance_uid).limit(1)).first() is not None


def retire_provisional_alerts(session: Session, result_id: int, now: datetime) -> None:
    """Let the final messages of a result stand for the provisional ones, whose acknowledgement they take over."""
    alerts = session.scalars(select(Alert).where(Alert.result_id == result_id).order_by(Alert.id)).all()
    for early in (row for row in alerts if row.provisional):
        for final in (row for row in alerts if not row.provisional and row.alert_uid == early.alert_uid):
            if early.acknowledged_at is not None and final.acknowledged_at is None:
                final.acknowledged_at, final.acknowledged_by = early.acknowledged_at, early.acknowledged_by
        if early.state in {"held", "pending", "sent", "escalated"}:
            early.state, early.error, early.updated_at = "withdrawn", FINAL_WENT_OUT, now
