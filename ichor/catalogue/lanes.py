"""Which studies are urgent (STAT): by sender, by description or by order; all others are routine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.rows import study_by_uid
from ichor.catalogue.schema import JobEntry, Study

STAT_PRIORITY = 7
"""Before what a person asks to have repeated, behind alerts."""
UNDER_WAY = ("receiving", "ready", "queued", "running")
BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StatRule:
    """One match is enough; AE titles as they are sent, words anywhere in the study description, in any case."""

    callers: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def fits(self, study: Study) -> bool:
        """Whether a study is urgent."""
        description = study.study_description.casefold()
        return study.calling_ae.strip() in self.callers or any(word.casefold() in description for word in self.words)


def put_into_lane(session: Session, study: Study, rule: StatRule, *, at: datetime) -> None:
    """Make a locked study urgent where the rule fits: every job about it from now on is; it never becomes less so."""
    if study.priority < STAT_PRIORITY and rule.fits(study):
        _set_urgent(session, study, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutineStudy:
    """A study under way that nothing has made urgent so far."""

    id: int
    study_instance_uid: str
    accession_number: str


def routine_studies(session: Session, *, after_id: int) -> tuple[RoutineStudy, ...]:
    """Return the routine studies with images that have no result yet, from the one after `after_id` on."""
    query = (
        select(Study.id, Study.study_instance_uid, Study.accession_number)
        .where(
            Study.id > after_id,
            Study.priority < STAT_PRIORITY,
            Study.input_version > 0,
            Study.state.in_(UNDER_WAY),
        )
        .order_by(Study.id)
        .limit(BATCH)
    )
    return tuple(
        RoutineStudy(id=row.id, study_instance_uid=row.study_instance_uid, accession_number=row.accession_number)
        for row in session.execute(query)
    )


def make_urgent(session: Session, study_instance_uid: str) -> int:
    """Put a study and every job of it that waits into the urgent lane; return 0 where it is there already.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    study = study_by_uid(session, study_instance_uid, lock=True)
    if study.priority >= STAT_PRIORITY:
        return 0
    _set_urgent(session, study, database_now(session))
    session.execute(
        update(JobEntry)
        .where(JobEntry.study_id == study.id, JobEntry.state == "ready", JobEntry.rank > -STAT_PRIORITY)
        .values(rank=-STAT_PRIORITY)
    )
    return 1


def _set_urgent(session: Session, study: Study, at: datetime) -> None:
    study.priority = STAT_PRIORITY
    add_event(
        session, at=at, study_id=study.id, subject="study", subject_key=study.study_instance_uid, name="study_stat"
    )
