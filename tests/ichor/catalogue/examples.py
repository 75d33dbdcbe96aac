"""Made-up instances and results for the catalogue's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ichor.catalogue.records import NewAlert, NewDelivery, NewObject, NewResult, ReceivedInstance

CT = "1.2.840.10008.5.1.4.1.1.2"
DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def instance(number: int, *, study: str = "1.2.3", series: str = "1.2.3.1", **changes: Any) -> ReceivedInstance:
    """One slice; its content hangs on its number alone."""
    values: dict[str, Any] = {
        "sop_instance_uid": f"{series}.{number}",
        "sop_class_uid": CT,
        "series_instance_uid": series,
        "study_instance_uid": study,
        "modality": "CT",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "sha256": hashlib.sha256(f"{series}.{number}".encode()).hexdigest(),
        "size_bytes": 526336,
        "path": Path(f"/spool/{series}.{number}.dcm"),
        "received_at": NOON,
        "calling_ae": "CT1",
        "series_number": 3,
        "series_description": "Head 5.0",
        "patient_id": "P1",
        "patient_name": "Test^One",
        "accession_number": "A1",
        "study_date": "20260101",
        "study_description": "CT head",
    }
    return ReceivedInstance(**{**values, **changes})


def slices(count: int, **changes: Any) -> list[ReceivedInstance]:
    """A series."""
    return [instance(number, **changes) for number in range(1, count + 1)]


def result(
    *,
    digest: str = "d1",
    study: str = "1.2.3",
    input_version: int = 1,
    status: Literal["analysed", "not_analysed", "failed"] = "analysed",
    provisional: bool = False,
    conclusion: Literal["suspected", "none_marked"] = "suspected",
    held: bool = False,
    supersedes_id: int | None = None,
    destinations: Sequence[str] = ("pacs",),
) -> NewResult:
    """A result with a SEG and a summary, for some destinations and one channel."""
    return NewResult(
        result_uid=f"2.25.{int(digest.encode().hex(), 16)}",
        identity_digest=digest,
        study_instance_uid=study,
        job_id=None,
        input_version=input_version,
        status=status,
        conclusion=conclusion if status == "analysed" else None,
        summary_json='{"schema": 1, "total_haemorrhage_ml": 15.25}',
        directory=Path("/results") / digest,
        model_digest="sha256:00",
        provisional=provisional,
        supersedes_id=supersedes_id,
        objects=tuple(
            NewObject(
                kind=kind,
                sop_instance_uid=f"2.25.{int(f'{digest}{kind}'.encode().hex(), 16)}"[:64],
                sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
                path=Path("/results") / digest / f"{kind}.dcm",
                sha256="00",
            )
            for kind in ("seg", "summary")
        ),
        deliveries=tuple(NewDelivery(destination=name, kinds=("seg", "sr"), held=held) for name in destinations),
        alerts=(
            NewAlert(
                channel="on-call",
                alert_uid="a1",
                event="haemorrhage_suspected",
                body=b'{"schema": 1}',
                provisional=provisional,
                held=held,
            ),
        ),
    )
