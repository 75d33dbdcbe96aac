"""Rows for the benchmark of the queue: studies that wait, and studies that are done, without a file behind them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert

from ichor.catalogue import intake, results, settling
from ichor.catalogue.engine import database_now
from ichor.catalogue.lanes import StatRule
from ichor.catalogue.records import NewAlert, NewDelivery, NewObject, NewResult, ReceivedInstance
from ichor.catalogue.schema import Instance, Series, Study
from ichor.identity import derive_uid

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from ichor.catalogue.engine import Catalogue

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
SLICE_BYTES = 526336
SLICES = 100
"""Of a study that is done."""
STUDIES_AT_ONCE = 100
ROUTINE_ROOT, STAT_ROOT = "1.8.", "1.7."
STAT_CALLER = "CT_ER"


def queue_studies(catalogue: Catalogue, count: int, *, first: int = 0) -> None:
    """Let so many studies of one slice arrive and settle, so that each waits for its analysis."""
    for start in range(first, first + count, STUDIES_AT_ONCE):
        with catalogue.write() as session:
            now = database_now(session)
            numbers = range(start, min(first + count, start + STUDIES_AT_ONCE))
            intake.record_instances(session, [_waiting(f"{ROUTINE_ROOT}{number}", now) for number in numbers], now=now)
            settling.settle(session, settle_s=0.0, study_settle_s=1e9)


def queue_stat_study(catalogue: Catalogue, number: int) -> None:
    """Let one arrive and settle that goes before all that are routine."""
    with catalogue.write() as session:
        now = database_now(session)
        arrived = replace(_waiting(f"{STAT_ROOT}{number}", now), calling_ae=STAT_CALLER)
        intake.record_instances(session, [arrived], now=now)
        settling.settle(session, settle_s=0.0, study_settle_s=1e9, stat=StatRule(callers=(STAT_CALLER,)))


def is_stat(study_instance_uid: str) -> bool:
    """Tell the studies of `queue_stat_study` from the others."""
    return study_instance_uid.startswith(STAT_ROOT)


def add_done_studies(catalogue: Catalogue, instances: int) -> None:
    """File so many instances in studies that have a result, a confirmed delivery's rows and an alert."""
    count = instances // SLICES
    for start in range(0, count, STUDIES_AT_ONCE):
        with catalogue.write() as session:
            now = database_now(session)
            for number in range(start, min(count, start + STUDIES_AT_ONCE)):
                _add_done(session, number, now - timedelta(seconds=number))


def new_result(study_instance_uid: str, input_version: int) -> NewResult:
    """Give a result with two objects, a delivery and an alert."""
    digest = hashlib.sha256(study_instance_uid.encode()).hexdigest()
    folder = Path("/results") / digest
    return NewResult(
        result_uid=derive_uid("result", digest),
        identity_digest=digest,
        study_instance_uid=study_instance_uid,
        job_id=None,
        input_version=input_version,
        status="analysed",
        conclusion="suspected",
        summary_json='{"schema": 1, "total_haemorrhage_ml": 15.2}',
        directory=folder,
        model_digest="",
        provisional=False,
        supersedes_id=None,
        objects=tuple(
            NewObject(
                kind=kind,
                sop_instance_uid=derive_uid(kind, digest),
                sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
                path=folder / f"{kind}.dcm",
                sha256=digest,
            )
            for kind in ("seg", "summary")
        ),
        deliveries=(NewDelivery(destination="pacs", kinds=("seg", "summary")),),
        alerts=(
            NewAlert(
                channel="on-call", alert_uid=derive_uid("alert", digest), event="haemorrhage_suspected", body=b"{}"
            ),
        ),
    )


def _waiting(uid: str, now: datetime) -> ReceivedInstance:
    return ReceivedInstance(
        sop_instance_uid=f"{uid}.1.1",
        sop_class_uid=CT_IMAGE,
        series_instance_uid=f"{uid}.1",
        study_instance_uid=uid,
        modality="CT",
        transfer_syntax_uid=EXPLICIT_LITTLE,
        sha256=hashlib.sha256(uid.encode()).hexdigest(),
        size_bytes=SLICE_BYTES,
        path=Path(f"/spool/{uid}.dcm"),
        received_at=now,
        calling_ae="CT1",
        series_number=3,
        series_description="Head",
        patient_id=f"P{uid}",
        patient_name="",
        accession_number=f"A{uid}",
        study_date="20260101",
        study_description="CT head",
    )


def _add_done(session: Session, number: int, at: datetime) -> None:
    uid = f"1.9.{number}"
    study = Study(
        study_instance_uid=uid,
        patient_id=f"P{number}",
        patient_name="",
        accession_number=f"A{number}",
        study_date="20260101",
        study_description="CT head",
        calling_ae="CT1",
        state="receiving",
        input_version=1,
        series_count=1,
        instance_count=SLICES,
        first_received_at=at,
        last_received_at=at,
        updated_at=at,
    )
    session.add(study)
    session.flush()
    series = Series(
        study_id=study.id,
        series_instance_uid=f"{uid}.1",
        series_number=3,
        series_description="Head",
        modality="CT",
        state="settled",
        has_images=True,
        instance_count=SLICES,
        last_received_at=at,
    )
    session.add(series)
    session.flush()
    rows = [
        {
            "series_id": series.id,
            "sop_instance_uid": f"{uid}.1.{slice_number}",
            "sop_class_uid": CT_IMAGE,
            "transfer_syntax_uid": EXPLICIT_LITTLE,
            "sha256": f"{number:032x}{slice_number:032x}",
            "size_bytes": SLICE_BYTES,
            "path": f"/spool/{uid}/{uid}.1/{slice_number}.dcm",
            "received_at": at,
            "calling_ae": "CT1",
        }
        for slice_number in range(SLICES)
    ]
    session.execute(insert(Instance), rows)
    results.record_result(session, new_result(uid, 1))
