"""The timeline: every transition is a row with a time, written in the transaction that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from ichor.catalogue.records import StudyState
from ichor.catalogue.schema import Event, Study


def add_event(  # one argument per column
    session: Session,
    *,
    at: datetime,
    study_id: int,
    subject: str,
    subject_key: str | int,
    name: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one row of the timeline."""
    session.add(
        Event(
            at=at,
            study_id=study_id,
            subject=subject,
            subject_key=str(subject_key),
            name=name,
            detail=dict(detail) if detail is not None else {},
        )
    )


def set_study_state(
    session: Session, study: Study, state: StudyState, *, at: datetime, detail: Mapping[str, Any] | None = None
) -> None:
    """Set the state of a locked study; write the event only where something changes or is to be told."""
    if study.state == state and detail is None:
        return
    study.state = state
    study.updated_at = at
    add_event(
        session,
        at=at,
        study_id=study.id,
        subject="study",
        subject_key=study.study_instance_uid,
        name=f"study_{state}",
        detail=detail,
    )
