"""What there is of a study to analyse: the instances that count, and the version of the input that they are."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from ichor.catalogue import early
from ichor.catalogue.images import IMAGE_SOP_CLASS_UIDS
from ichor.catalogue.records import InstanceRow, StudyInput
from ichor.catalogue.registration import outdated_identities
from ichor.catalogue.rows import instance_row, study_by_uid
from ichor.catalogue.schema import Instance, Series, Study

FETCHED = "pull"
"""The channel of what the node asked for itself."""


def study_input(session: Session, study_instance_uid: str) -> StudyInput:
    """Return the instances of the settled and released series, and the version of the input they stand for.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    # The version is read before the instances: what arrives in between makes the version too low, so that it is
    # looked at again, and never too high.
    study = study_by_uid(session, study_instance_uid)
    input_version = study.input_version
    released = early.released_series(session, study.id)
    if _awaited(session, study.id, released):
        input_version -= 1  # no result may stand for slices that it has not seen
    outdated = outdated_identities(session, study.id)
    settled = settled_instances(session, study_instance_uid, released=released)
    instances = tuple(row for row in settled if row.identity not in outdated)
    came = set(
        session.scalars(
            select(Instance.channel)
            .join(Series, Instance.series_id == Series.id)
            .where(Series.study_id == study.id, Instance.sop_class_uid.in_(IMAGE_SOP_CLASS_UIDS))
            .distinct()
        )
    )
    return StudyInput(
        study_instance_uid=study_instance_uid,
        input_version=input_version,
        instances=instances,
        routed=came != {FETCHED},
        outdated=len(settled) - len(instances),
        first_received_at=study.first_received_at,
        last_received_at=study.last_received_at,
        calling_ae=study.calling_ae,
        released=released,
    )


def _awaited(session: Session, study_id: int, released: Collection[str]) -> bool:
    """Say whether images have come of a series that is still receiving, and is not looked at early."""
    query = select(Series.id).where(
        Series.study_id == study_id,
        Series.state == "receiving",
        Series.has_images,
        Series.series_instance_uid.not_in(released),
    )
    return session.scalars(query.limit(1)).first() is not None


def settled_instances(
    session: Session, study_instance_uid: str, *, released: Collection[str] = ()
) -> list[InstanceRow]:
    """Return what counts now of the settled series of a study, and of those named, by series and SOP Instance UID."""
    rows = session.execute(
        select(Instance, Series.series_instance_uid)
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .where(
            Study.study_instance_uid == study_instance_uid,
            or_(Series.state == "settled", Series.series_instance_uid.in_(released)),
            Instance.superseded_at.is_(None),
        )
        .order_by(Series.series_instance_uid, Instance.sop_instance_uid)
    )
    return [instance_row(instance, series_instance_uid) for instance, series_instance_uid in rows]
