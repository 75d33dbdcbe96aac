"""What the gate said of each series of a study: whether it was analysed, and else why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichor.catalogue.records import SeriesVerdict
from ichor.catalogue.rows import study_by_uid
from ichor.catalogue.schema import Series


def record_verdicts(session: Session, study_instance_uid: str, verdicts: Sequence[SeriesVerdict]) -> None:
    """Note the latest verdicts; series that are not among them keep what was said before.

    Raises:
        StudyNotFound: the catalogue knows no such study.
    """
    by_uid: Mapping[str, SeriesVerdict] = {one.series_instance_uid: one for one in verdicts}
    study = study_by_uid(session, study_instance_uid, lock=True)
    for series in session.scalars(select(Series).where(Series.study_id == study.id)):
        said = by_uid.get(series.series_instance_uid)
        if said is not None:
            reasons = [{"code": code, "text": text} for code, text in said.reasons]
            series.verdict = {"analysed": said.analysed, "reasons": reasons}
