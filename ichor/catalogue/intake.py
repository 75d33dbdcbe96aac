"""What came in: filing of received instances.

Filing is idempotent: a content that is known changes nothing, whichever sender repeats it and however often. Another
content under a known SOP Instance UID is a correction: the later one received counts, both are kept. Objects that
Ichor wrote itself and a PACS routes back are not filed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event, set_study_state
from ichor.catalogue.images import IMAGE_SOP_CLASS_UIDS
from ichor.catalogue.records import KnownInstance, ReceivedInstance, StudyState
from ichor.catalogue.registration import outdated_identities, withdraw_unsent
from ichor.catalogue.rows import study_by_uid
from ichor.catalogue.schema import Base, Instance, ResultObject, Series, Study


def record_instances(session: Session, instances: Sequence[ReceivedInstance], *, now: datetime | None = None) -> int:
    """File instances under their series and studies.

    Args:
        session: that of a write transaction.
        instances: in any order, from any number of studies, with repeats.
        now: when they count as received for settling; None is the database's clock.

    Returns:
        How many were not held before.
    """
    moment = database_now(session) if now is None else now
    offered = {(item.sop_instance_uid, item.sha256): item for item in instances}
    if not offered:
        return 0
    uids = {item.sop_instance_uid for item in offered.values()}
    own = set(session.scalars(select(ResultObject.sop_instance_uid).where(ResultObject.sop_instance_uid.in_(uids))))
    offered = {key: item for key, item in offered.items() if key[0] not in own}
    studies = _file_studies(session, offered.values(), uids, moment)
    held = {
        (row.sop_instance_uid, row.sha256): row
        for row in session.scalars(select(Instance).where(Instance.sop_instance_uid.in_(uids)))
    }
    fresh = sorted(
        (item for key, item in offered.items() if key not in held),
        key=lambda item: (item.received_at, item.sop_instance_uid, item.sha256),
    )
    if not fresh:
        return 0
    series = _file_series(session, fresh, studies, moment)
    _file_instances(session, fresh, list(held.values()), series, moment)
    _touch_series(session, fresh, studies, series, moment)
    for study_instance_uid, study in studies.items():
        _touch_study(session, study, [item for item in fresh if item.study_instance_uid == study_instance_uid], moment)
    return len(fresh)


def known_instances(session: Session, sop_instance_uids: Collection[str]) -> dict[str, KnownInstance]:
    """Return the content that counts now under each of these UIDs; UIDs that are not known are left out."""
    rows = session.execute(
        select(Instance.sop_instance_uid, Instance.sha256, Instance.path).where(
            Instance.sop_instance_uid.in_(sop_instance_uids), Instance.superseded_at.is_(None)
        )
    )
    return {row.sop_instance_uid: KnownInstance(sha256=row.sha256, path=Path(row.path)) for row in rows}


def mark_study(
    session: Session, study_instance_uid: str, state: StudyState, detail: Mapping[str, Any] | None = None
) -> None:
    """Set a study's state and write the event.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    study = study_by_uid(session, study_instance_uid, lock=True)
    set_study_state(session, study, state, at=database_now(session), detail=detail)


def _insert_missing(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, and leave alone those that are there already or that another process inserts just now."""
    if not rows:
        return
    session.execute(_insert(session, table).on_conflict_do_nothing(), list(rows))


def _insert(session: Session, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def _file_studies(session: Session, offered: Any, sop_instance_uids: set[str], moment: datetime) -> dict[str, Study]:
    """Return the studies of these instances, created where they are new.

    Those that are new are inserted first, by their UIDs; then all are locked in the order of their ids, and with them
    those that an instance may leave. A process that waits for a row to be inserted holds no lock that another one of
    this order could be waiting for, so that listeners never wait for each other in a ring.
    """
    first = {item.study_instance_uid: item for item in offered}
    there = set(session.scalars(select(Study.study_instance_uid).where(Study.study_instance_uid.in_(first))))
    inserted = _insert_studies(session, [_new_study(first[uid], moment) for uid in sorted(first.keys() - there)])
    homes = (
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .where(Instance.sop_instance_uid.in_(sop_instance_uids))
    )
    query = (
        select(Study)
        .where(or_(Study.study_instance_uid.in_(first), Study.id.in_(homes)))
        .order_by(Study.id)
        .with_for_update()
    )
    studies = {study.study_instance_uid: study for study in session.scalars(query)}
    for uid in inserted:
        add_event(
            session,
            at=moment,
            study_id=studies[uid].id,
            subject="study",
            subject_key=uid,
            name="study_receiving",
            detail={"calling_ae": first[uid].calling_ae},
        )
    return {uid: studies[uid] for uid in first}


def _insert_studies(session: Session, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Insert studies in the order given and return the UIDs of those that nobody else has inserted meanwhile."""
    if not rows:
        return []
    statement = _insert(session, Study).values(list(rows)).on_conflict_do_nothing()
    return sorted(session.scalars(statement.returning(Study.study_instance_uid)))


def _new_study(item: ReceivedInstance, moment: datetime) -> dict[str, Any]:
    return {
        "study_instance_uid": item.study_instance_uid,
        "state": "receiving",
        "first_received_at": moment,
        "last_received_at": moment,
        "updated_at": moment,
        **_attributes(item),
    }


def _attributes(item: ReceivedInstance) -> dict[str, str]:
    return {
        "patient_id": item.patient_id,
        "patient_name": item.patient_name,
        "accession_number": item.accession_number,
        "study_date": item.study_date,
        "study_description": item.study_description,
        "calling_ae": item.calling_ae,
    }


SeriesKey = tuple[int, str]


def _file_series(
    session: Session, fresh: Sequence[ReceivedInstance], studies: Mapping[str, Study], moment: datetime
) -> dict[SeriesKey, Series]:
    wanted = {(studies[item.study_instance_uid].id, item.series_instance_uid): item for item in fresh}
    query = select(Series).where(
        Series.study_id.in_({key[0] for key in wanted}), Series.series_instance_uid.in_({key[1] for key in wanted})
    )
    series = {(row.study_id, row.series_instance_uid): row for row in session.scalars(query)}
    missing = [key for key in wanted if key not in series]
    if not missing:
        return series
    rows = [
        {
            "study_id": study_id,
            "series_instance_uid": uid,
            "series_number": wanted[study_id, uid].series_number,
            "series_description": wanted[study_id, uid].series_description,
            "modality": wanted[study_id, uid].modality,
            "state": "receiving",
            "last_received_at": moment,
        }
        for study_id, uid in missing
    ]
    _insert_missing(session, Series, rows)
    by_id = {study.id: study for study in studies.values()}
    for study_id, uid in missing:
        by_id[study_id].series_count += 1
        add_event(session, at=moment, study_id=study_id, subject="series", subject_key=uid, name="series_receiving")
    return {(row.study_id, row.series_instance_uid): row for row in session.scalars(query)}


def _file_instances(
    session: Session,
    fresh: Sequence[ReceivedInstance],
    held: Sequence[Instance],
    series: Mapping[SeriesKey, Series],
    moment: datetime,
) -> None:
    """Insert the rows; of several contents under one UID the one received last stays current."""
    by_study = {(row.study.study_instance_uid, row.series_instance_uid): row for row in series.values()}
    current = {row.sop_instance_uid: row for row in held if row.superseded_at is None}
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    replaced: list[int] = []
    outdated: dict[tuple[int, str], None] = {}
    corrected: Counter[int] = Counter()
    for item in fresh:
        home = by_study[item.study_instance_uid, item.series_instance_uid]
        row = _new_instance(item, home.id)
        before = current.get(item.sop_instance_uid)
        if before is not None and before.received_at > item.received_at:
            row["superseded_at"] = moment
        else:
            if before is not None:
                replaced.append(before.id)
                del current[item.sop_instance_uid]
                _uncount(session, before, moment)
                corrected[before.series_id] += 1
                if before.identity and item.identity and before.identity != item.identity:
                    outdated[before.series.study_id, before.identity] = None
            for earlier in rows[item.sop_instance_uid]:
                if earlier["superseded_at"] is None:
                    earlier["superseded_at"] = moment
                    _count(session, earlier["series_id"], -1)
            home.instance_count += 1
            home.study.instance_count += 1
        rows[item.sop_instance_uid].append(row)
    if replaced:
        # Before the insert: the database allows one current content of a UID.
        session.execute(update(Instance).where(Instance.id.in_(replaced)).values(superseded_at=moment))
    session.execute(insert(Instance), [row for versions in rows.values() for row in versions])
    for series_id, count in corrected.items():
        _say_corrected(session, session.get_one(Series, series_id), count, moment)
    for study_id, identity in outdated:
        withdraw_unsent(session, study_id, identity)


def _new_instance(item: ReceivedInstance, series_id: int) -> dict[str, Any]:
    return {
        "series_id": series_id,
        "sop_instance_uid": item.sop_instance_uid,
        "sop_class_uid": item.sop_class_uid,
        "transfer_syntax_uid": item.transfer_syntax_uid,
        "sha256": item.sha256,
        "size_bytes": item.size_bytes,
        "path": str(item.path),
        "received_at": item.received_at,
        "calling_ae": item.calling_ae,
        "channel": item.channel,
        "identity": item.identity,
        "superseded_at": None,
    }


def _count(session: Session, series_id: int, change: int) -> None:
    row = session.get_one(Series, series_id)
    row.instance_count += change
    row.study.instance_count += change


def _uncount(session: Session, before: Instance, moment: datetime) -> None:
    """Take a content that a correction replaces out of the counts."""
    _count(session, before.series_id, -1)
    home = before.series
    # The instance may have left this study for another one; what is left is a new input all the same, to be looked at
    # when the others have followed.
    home.study.input_version += 1
    home.study.last_received_at = moment
    set_study_state(session, home.study, "receiving", at=moment)
    _reopen(session, home, moment)


def _say_corrected(session: Session, series: Series, count: int, moment: datetime) -> None:
    add_event(
        session,
        at=moment,
        study_id=series.study_id,
        subject="series",
        subject_key=series.series_instance_uid,
        name="instance_corrected",
        detail={"instances": count},
    )


def _reopen(session: Session, series: Series, moment: datetime) -> None:
    series.last_received_at = moment
    if series.state != "receiving":
        series.state = "receiving"
        series.settled_at = None
        add_event(
            session,
            at=moment,
            study_id=series.study_id,
            subject="series",
            subject_key=series.series_instance_uid,
            name="series_receiving",
        )


def _touch_series(
    session: Session,
    fresh: Sequence[ReceivedInstance],
    studies: Mapping[str, Study],
    series: Mapping[SeriesKey, Series],
    moment: datetime,
) -> None:
    with_images = {
        (item.study_instance_uid, item.series_instance_uid)
        for item in fresh
        if item.sop_class_uid in IMAGE_SOP_CLASS_UIDS
    }
    for study_uid, series_uid in dict.fromkeys((item.study_instance_uid, item.series_instance_uid) for item in fresh):
        row = series[studies[study_uid].id, series_uid]
        row.has_images = row.has_images or (study_uid, series_uid) in with_images
        _reopen(session, row, moment)


def _touch_study(session: Session, study: Study, fresh: Sequence[ReceivedInstance], moment: datetime) -> None:
    if not fresh:
        return
    study.last_received_at = moment
    study.updated_at = moment
    images = [item for item in fresh if item.sop_class_uid in IMAGE_SOP_CLASS_UIDS]
    if images:
        study.input_version += 1
        outdated = outdated_identities(session, study.id)
        latest = next((item for item in reversed(images) if item.identity not in outdated), None)
        if latest is not None:
            for name, value in _attributes(latest).items():
                setattr(study, name, value)
        late = sum(item.identity in outdated for item in images)
        if late:
            add_event(
                session,
                at=moment,
                study_id=study.id,
                subject="study",
                subject_key=study.study_instance_uid,
                name="outdated_registration",
                detail={"instances": late},
            )
        set_study_state(session, study, "receiving", at=moment)
