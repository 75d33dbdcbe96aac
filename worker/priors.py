"""Earlier results that a new one may be compared with: of the same study, and of other studies of the same patient.

Who the patient is, is read again from a stored image of either study: PatientID, its issuer, name, birth date and sex
must all be the same, and ID and name must be there. Where that image is gone, nothing is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom

from ichor.catalogue import inputs, results
from worker.result import AnalysisResult

if TYPE_CHECKING:
    from pydicom import Dataset
    from sqlalchemy.orm import Session

    from ichor.catalogue.records import ResultRow
    from worker.acquisitions import Span

NEEDED = ("PatientID", "PatientName")
EQUAL = (*NEEDED, "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
MOST_STUDIES = 8
"""How many results of other studies are looked at, the latest scans first."""


def priors_of(session: Session, header: Dataset, span: Span | None) -> tuple[AnalysisResult, ...]:
    """Give the analysed results of scans of this patient that ended before `span` began, the latest first."""
    if span is None:
        return ()
    study_instance_uid = str(header.StudyInstanceUID)
    rows = [
        row
        for row in results.standing_results(session, study_instance_uid)
        if row.status == "analysed"
        and not row.provisional
        and row.acquired_at is not None
        and row.acquired_at < span.begin
        and _names(session, row) == _named(header)  # a study may hold images of two patients
    ]
    patient = patient_of(header)
    if patient is not None:
        rows += [
            row
            for row in results.results_of_patient(
                session, study_instance_uid, acquired_before=span.begin, limit=MOST_STUDIES
            )
            if _is_of(session, row, patient)
        ]
    rows.sort(key=lambda row: (row.acquired_at or row.created_at, row.id), reverse=True)
    return tuple(AnalysisResult.from_json(row.summary_json) for row in rows)


def patient_of(header: Dataset) -> tuple[str, ...] | None:
    """Give what tells a patient from all others; None where ID or name are missing."""
    values = dict(zip(EQUAL, _named(header), strict=True))
    return tuple(values.values()) if all(values[keyword] for keyword in NEEDED) else None


def _named(header: Dataset) -> tuple[str, ...]:
    return tuple(str(header.get(keyword) or "").strip().rstrip("^").casefold() for keyword in EQUAL)


def _is_of(session: Session, row: ResultRow, patient: tuple[str, ...]) -> bool:
    return _names(session, row) == patient


def _names(session: Session, row: ResultRow) -> tuple[str, ...] | None:
    """Give whom an image of the series that a result speaks of names; None where it is gone."""
    analysed = AnalysisResult.from_json(row.summary_json).series_instance_uid
    instances = [
        instance
        for instance in inputs.settled_instances(session, row.study_instance_uid)
        if instance.series_instance_uid == analysed
    ]
    if not instances:
        return None
    try:
        header = pydicom.dcmread(
            instances[0].path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", *EQUAL]
        )
    except FileNotFoundError:  # retention removed it
        return None
    return _named(header)
