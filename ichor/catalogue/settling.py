"""When a series, and a study, counts as complete, and the analyses that follow from it.

A series is settled after a while without new slices, or as soon as it has as many as its source has counted; where the
source has more, it waits as long as a study does. A late slice makes it receive again. A settled series with images
is analysed. A study that stays quiet for longer, and whose present input no published result covers, gets one closing
analysis, the only one that may say "not analysed".
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event, set_study_state
from ichor.catalogue.jobs import enqueue
from ichor.catalogue.lanes import StatRule, put_into_lane
from ichor.catalogue.schema import JobEntry, Series, Study

ALL_ROUTINE = StatRule()
BATCH = 100
"""Most series, and most studies, settled in one call: nobody else writes meanwhile. The rest comes with the next."""
NO_IMAGES = {"code": "no_images", "text": "the study holds no images that can be analysed"}


def settle(
    session: Session,
    *,
    settle_s: float,
    study_settle_s: float,
    now: datetime | None = None,
    stat: StatRule = ALL_ROUTINE,
) -> int:
    """Settle what is quiet, and enqueue the analyses that follow.

    Args:
        session: that of a write transaction.
        settle_s: how long a series must be quiet.
        study_settle_s: how long a study must be quiet for its closing analysis.
        now: the moment to judge by; None is the database's clock.
        stat: which studies are urgent.

    Returns:
        How many analyses were asked for.
    """
    moment = database_now(session) if now is None else now
    study_quiet_since = moment - timedelta(seconds=study_settle_s)
    settled = or_(
        Series.source_count == Series.instance_count,
        and_(
            Series.last_received_at <= moment - timedelta(seconds=settle_s),
            or_(Series.source_count.is_(None), Series.source_count <= Series.instance_count),
        ),
        Series.last_received_at <= study_quiet_since,
    )
    asked = _settle_series(session, settled, moment, stat)
    session.flush()
    return asked + _close_studies(session, study_quiet_since)


def uncounted(session: Session, *, quiet_s: float) -> tuple[tuple[str, str], ...]:
    """Return study and series UIDs of the series with images that still receive, and were quiet for so long."""
    query = (
        select(Study.study_instance_uid, Series.series_instance_uid)
        .join(Study, Series.study_id == Study.id)
        .where(
            Series.state == "receiving",
            Series.has_images,
            Series.last_received_at <= database_now(session) - timedelta(seconds=quiet_s),
        )
        .order_by(Series.last_received_at, Series.id)
        .limit(BATCH)
    )
    return tuple((row[0], row[1]) for row in session.execute(query))


def note_count(session: Session, study_instance_uid: str, series_instance_uid: str, count: int) -> bool:
    """Write down how many instances of a series its source has; return whether that is news."""
    query = (
        select(Series)
        .join(Study, Series.study_id == Study.id)
        .where(Study.study_instance_uid == study_instance_uid, Series.series_instance_uid == series_instance_uid)
    )
    series = session.scalars(query).one_or_none()
    if series is None or series.source_count == count:
        return False
    series.source_count = count
    add_event(
        session,
        at=database_now(session),
        study_id=series.study_id,
        subject="series",
        subject_key=series_instance_uid,
        name="series_counted",
        detail={"at_source": count, "instances": series.instance_count},
    )
    return True


def _settle_series(session: Session, settled: ColumnElement[bool], moment: datetime, stat: StatRule) -> int:
    # A study that another transaction works on just now is left for the next round.
    query = (
        select(Series, Study)
        .join(Study, Series.study_id == Study.id)
        .where(Series.state == "receiving", settled)
        .order_by(Series.last_received_at, Series.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    asked = 0
    quiet = sorted(session.execute(query), key=lambda pair: (pair[1].id, pair[0].id))
    for _, group in groupby(quiet, key=lambda pair: pair[1].id):
        pairs = list(group)
        study = pairs[0][1]
        for series, _ in pairs:
            series.state = "settled"
            series.settled_at = moment
            add_event(
                session,
                at=moment,
                study_id=study.id,
                subject="series",
                subject_key=series.series_instance_uid,
                name="series_settled",
                detail={"instances": series.instance_count},
            )
        if any(series.has_images for series, _ in pairs):
            put_into_lane(session, study, stat, at=moment)
            set_study_state(session, study, "ready", at=moment)
            enqueue(session, queue="analyse", kind="analyse", study_instance_uid=study.study_instance_uid)
            asked += 1
        elif study.input_version == 0 and study.state == "receiving":
            set_study_state(session, study, "not_analysed", at=moment, detail=NO_IMAGES)
    return asked


def _close_studies(session: Session, quiet_since: datetime) -> int:
    receiving = exists().where(Series.study_id == Study.id, Series.state == "receiving")
    # A running analysis may publish a result that covers the input: whether more is needed shows when it ends.
    running = exists().where(JobEntry.study_id == Study.id, JobEntry.queue == "analyse", JobEntry.state == "running")
    query = (
        select(Study)
        .where(Study.closed_version < Study.input_version, Study.last_received_at <= quiet_since, ~receiving, ~running)
        .order_by(Study.last_received_at, Study.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    studies = session.scalars(query).all()
    for study in studies:
        # One closing analysis for one input, even where it fails: a retry is a person's decision.
        study.closed_version = study.input_version
        enqueue(session, queue="analyse", kind="analyse", study_instance_uid=study.study_instance_uid, final=True)
    return len(studies)
