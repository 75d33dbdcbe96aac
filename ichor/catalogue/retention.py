"""What may leave the disk: the files of studies that are done with, never anything that somebody may still need.

Rows of studies, results and events stay. What a study received is forgotten with its files, so that images which come
again are new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy import ColumnElement, and_, delete, exists, select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.rows import study_by_uid
from ichor.catalogue.schema import Alert, Delivery, Instance, JobEntry, Result, Series, Study

Why = Literal["confirmed", "not_analysed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """A study whose files may go."""

    study_instance_uid: str
    input_version: int
    result_directories: tuple[Path, ...]


def removable(session: Session, why: Why, *, unchanged_for_days: float, limit: int) -> tuple[Removable, ...]:
    """Return studies that are done with for this reason, the longest unchanged first.

    `confirmed`: every delivery of every result that was not withdrawn is proven to have arrived, and there is one.
    `not_analysed`: it ended without an analysis, and nothing waits to be sent.
    `failed`: a person has acknowledged an alert that the failed result sent.
    """
    before = database_now(session) - timedelta(days=unchanged_for_days)
    query = (
        select(Study)
        .where(
            Study.instance_count > 0,
            Study.last_received_at <= before,
            Study.updated_at <= before,
            ~exists().where(Series.study_id == Study.id, Series.state != "settled"),
            ~exists().where(JobEntry.study_id == Study.id, JobEntry.state.in_(("ready", "running"))),
            ~_alert(Alert.state.in_(("held", "pending"))),
            _REASONS[why],
        )
        .order_by(Study.last_received_at, Study.id)
        .limit(limit)
    )
    found = []
    for study in session.scalars(query):
        directories = session.scalars(select(Result.directory).where(Result.study_id == study.id).order_by(Result.id))
        found.append(
            Removable(
                study_instance_uid=study.study_instance_uid,
                input_version=study.input_version,
                result_directories=tuple(Path(directory) for directory in directories),
            )
        )
    return tuple(found)


def forget(session: Session, study: Removable, why: Why) -> bool:
    """Forget what a study received, whose files are gone; False where something came meanwhile, which stays.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    row = study_by_uid(session, study.study_instance_uid, lock=True)
    if row.input_version != study.input_version:
        return False
    of_study = select(Series.id).where(Series.study_id == row.id)
    session.execute(delete(Instance).where(Instance.series_id.in_(of_study)))
    for series in session.scalars(select(Series).where(Series.study_id == row.id)):
        series.instance_count = 0
    detail = {"why": why, "instances": row.instance_count}
    row.instance_count = 0
    _event(session, row, detail, database_now(session))
    return True


def _event(session: Session, study: Study, detail: Mapping[str, object], at: datetime) -> None:
    add_event(
        session,
        at=at,
        study_id=study.id,
        subject="study",
        subject_key=study.study_instance_uid,
        name="files_removed",
        detail=detail,
    )


def _delivery(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    of_study = and_(Delivery.result_id == Result.id, Result.study_id == Study.id)
    return exists().where(of_study, *conditions)


def _alert(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(Alert.result_id == Result.id, Result.study_id == Study.id, *conditions)


_UNPROVEN = _delivery(Delivery.state.not_in(("confirmed", "withdrawn")))
_REASONS: dict[Why, ColumnElement[bool]] = {
    "confirmed": and_(Study.state == "analysed", _delivery(Delivery.state == "confirmed"), ~_UNPROVEN),
    "not_analysed": and_(Study.state == "not_analysed", ~_UNPROVEN),
    "failed": and_(
        Study.state == "failed", _alert(Result.status == "failed", Alert.acknowledged_at.is_not(None)), ~_UNPROVEN
    ),
}
