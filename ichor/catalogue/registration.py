"""Corrections of registration: images that name another patient or order, and what was said in the old name.

An identity is the digest over patient, order and study that an instance names. Where a later version of an instance
names another one, the old identity is outdated in that study: images that still carry it are left out of the input
until their correction comes too, and what was not sent yet in its name stays here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ichor.catalogue import outbox
from ichor.catalogue.images import IMAGE_SOP_CLASS_UIDS
from ichor.catalogue.records import ResultRow
from ichor.catalogue.results import standing_results
from ichor.catalogue.rows import study_by_uid
from ichor.catalogue.schema import Alert, Delivery, Instance, Result, Series

CORRECTED = "The images were registered again, to another patient or order."
_UNSENT = ("held", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraction:
    """A standing result that speaks in a name that its images no longer carry."""

    result: ResultRow
    paths: tuple[Path, ...]
    """The replaced versions of images in that name."""
    study_is_empty: bool
    """All images of the study have gone to another one."""


def outdated_identities(session: Session, study_id: int) -> frozenset[str]:
    """Return the identities that corrections within this study have replaced."""
    now_in = aliased(Series)
    newer = aliased(Instance)
    pairs = session.execute(
        select(Instance.identity, newer.identity, newer.received_at)
        .join(Series, Instance.series_id == Series.id)
        .join(newer, newer.sop_instance_uid == Instance.sop_instance_uid)
        .join(now_in, newer.series_id == now_in.id)
        .where(
            Series.study_id == study_id,
            now_in.study_id == study_id,
            Instance.superseded_at.is_not(None),
            newer.superseded_at.is_(None),
            Instance.identity != "",
            newer.identity != "",
            Instance.identity != newer.identity,
        )
        .distinct()
    ).all()
    if not pairs:
        return frozenset()
    latest = max(pairs, key=lambda pair: pair[2])[1]
    return frozenset(pair[0] for pair in pairs) - {latest}


def withdraw_unsent(session: Session, study_id: int, identity: str) -> None:
    """Keep here what was made in an outdated name and has not gone out; the caller holds the study's row."""
    of_name = select(Result.id).where(Result.study_id == study_id, Result.identity == identity)
    alerts = select(Alert.id).where(Alert.result_id.in_(of_name), Alert.state.in_(_UNSENT)).order_by(Alert.id)
    for alert_id in session.scalars(alerts).all():
        outbox.mark_alert(session, alert_id, "withdrawn", CORRECTED)
    deliveries = select(Delivery.id).where(Delivery.result_id.in_(of_name), Delivery.state.in_(_UNSENT))
    for delivery_id in session.scalars(deliveries.order_by(Delivery.id)).all():
        outbox.mark_delivery(session, delivery_id, "withdrawn", CORRECTED)


def retractions(session: Session, study_instance_uid: str) -> tuple[Retraction, ...]:
    """Return the standing results of a study that are to be withdrawn.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    study = study_by_uid(session, study_instance_uid)
    of_study = select(Series.id).where(Series.study_id == study.id)
    images = select(Instance.id).where(
        Instance.series_id.in_(of_study),
        Instance.superseded_at.is_(None),
        Instance.sop_class_uid.in_(IMAGE_SOP_CLASS_UIDS),
    )
    empty = session.scalars(images.limit(1)).first() is None
    outdated = outdated_identities(session, study.id)
    found = []
    for result in standing_results(session, study_instance_uid):
        if not result.identity or not (empty or result.identity in outdated):
            continue
        replaced = select(Instance.path).where(
            Instance.series_id.in_(of_study),
            Instance.superseded_at.is_not(None),
            Instance.identity == result.identity,
        )
        paths = tuple(Path(path) for path in session.scalars(replaced.order_by(Instance.path)))
        if paths:
            found.append(Retraction(result=result, paths=paths, study_is_empty=empty))
    return tuple(found)
