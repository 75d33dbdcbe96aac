"""A catalogue with one study of every outcome, filled through the functions that the node itself uses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ichor.catalogue import intake, outbox, results, views
from ichor.catalogue.records import NewAlert, NewDelivery, NewObject, NewResult, ReceivedInstance
from ichor.clock import utc_now
from ichor.identity import derive_uid
from worker.reason import Reason
from worker.result import AnalysisResult, ResultCoverage, ResultFinding, ResultModel, Status

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue

NAMES = ("suspected", "small", "none_marked", "not_analysed", "failed", "receiving")
MODEL = ResultModel(
    name="blast-ct-v1", version="1", digest="sha256:" + "0" * 64, members=12, precision="float32", device="cpu"
)
REASONS = {
    "not_analysed": Reason(code="contrast", text="contrast-enhanced series"),
    "failed": Reason(code="model", text="the model could not be run"),
}
PATIENT_NAME = "Marked^Patient"


def study_uid(name: str) -> str:
    """Give the Study Instance UID of a made-up study."""
    return derive_uid("test-study", name)


def fill(catalogue: Catalogue, folder: Path) -> None:
    """File one study per name, with a result where it has one."""
    now = utc_now()
    with catalogue.write() as session:
        for number, name in enumerate(NAMES):
            received = [instance(name, index, folder, number) for index in range(3)]
            intake.record_instances(session, received, now=now - timedelta(minutes=number * 7))
    for name in NAMES[:-1]:
        record(catalogue, name, folder / name)


def instance(name: str, index: int, folder: Path, number: int) -> ReceivedInstance:
    """Make one received slice."""
    return ReceivedInstance(
        sop_instance_uid=derive_uid("test-instance", name, str(index)),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        series_instance_uid=derive_uid("test-series", name),
        study_instance_uid=study_uid(name),
        modality="CT",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=hashlib.sha256(f"{name}{index}".encode()).hexdigest(),
        size_bytes=526_000,
        path=folder / f"{name}-{index}.dcm",
        received_at=utc_now(),
        calling_ae="CT1",
        series_number=3,
        series_description="Head 5.0 H31s",
        patient_id=f"P{number:04d}",
        patient_name=PATIENT_NAME,
        accession_number=f"A2026{number:04d}",
        study_date="20261121",
        study_description="CT head without contrast",
    )


def record(catalogue: Catalogue, name: str, folder: Path) -> None:
    """Record the result that a name stands for; the first one has a delivery and an alert on their way."""
    folder.mkdir(parents=True)
    Image.new("RGB", (640, 320), (30, 30, 40)).save(folder / "overlay.png")
    result = analysis(name)
    suspected = name == "suspected"
    new = NewResult(
        result_uid=derive_uid("test-result", name),
        identity_digest=hashlib.sha256(name.encode()).hexdigest(),
        study_instance_uid=study_uid(name),
        job_id=None,
        input_version=1,
        status=result.status,
        conclusion=result.conclusion,
        summary_json=result.to_json(),
        directory=folder,
        model_digest="sha256:" + "0" * 64,
        provisional=False,
        supersedes_id=None,
        objects=(
            NewObject(
                kind="summary",
                sop_instance_uid=derive_uid("test-summary", name),
                sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
                path=folder / "summary.dcm",
                sha256="0" * 64,
            ),
        ),
        deliveries=(NewDelivery(destination="pacs", kinds=("summary",)),),
        alerts=(
            NewAlert(
                channel="on-call", alert_uid=alert_uid(name), event="haemorrhage_suspected", body=alert_body(name)
            ),
        )
        if suspected
        else (),
    )
    with catalogue.write() as session:
        results.record_result(session, new)
        detail = views.study_detail(session, study_uid(name))
        for delivery in detail.deliveries:
            outbox.mark_delivery(session, delivery.id, "confirmed")
        for alert in detail.alerts:
            outbox.mark_alert(session, alert.id, "sent")


def alert_uid(name: str) -> str:
    """Give the id that a study's alert carries."""
    return derive_uid("test-alert", name)


def alert_body(name: str) -> bytes:
    """Make the stored body of an alert."""
    return json.dumps({"schema": 1, "id": alert_uid(name), "total_haemorrhage_ml": 15.2}).encode()


def analysis(name: str) -> AnalysisResult:
    """Make the result that a name stands for."""
    if name in REASONS:
        status: Status = "failed" if name == "failed" else "not_analysed"
        base = AnalysisResult(
            status=status, written_at=utc_now(), study_instance_uid=study_uid(name), reasons=(REASONS[name],)
        )
    else:
        total_ml = {"suspected": 15.2, "small": 0.3, "none_marked": 0.0}[name]
        base = AnalysisResult(
            status="analysed",
            written_at=utc_now(),
            study_instance_uid=study_uid(name),
            conclusion="none_marked" if name == "none_marked" else "suspected",
            model=MODEL,
            coverage=ResultCoverage(whole_head=True, lowest_mm=-60.0, highest_mm=80.0),
            findings=() if name == "none_marked" else (finding(total_ml),),
            total_haemorrhage_ml=total_ml,
            alert=name == "suspected",
            timing_s={"gate": 0.4, "volume": 0.9, "model": 92.0, "write": 2.5},
        )
    return replace(
        base,
        series_instance_uid=derive_uid("test-series", name),
        series_number=3,
        source_instances=3,
        slices=3,
        outputs={"summary": "summary.dcm"},
    )


def finding(volume_ml: float) -> ResultFinding:
    """Make a left intraparenchymal bleed."""
    return ResultFinding(
        label="IPH",
        title="Intraparenchymal",
        haemorrhage=True,
        volume_ml=volume_ml,
        volume_range_ml=(volume_ml * 0.93, volume_ml * 1.08),
        laterality="left",
        touches_edge=False,
        components=1,
        long_axis_mm=34.1,
        short_axis_mm=29.8,
        abc2_ml=16.0,
        median_hu=67.9,
        share_above_100_hu=0.0,
        bounding_box_lps_mm=((10.0, -20.0, 5.0), (45.0, 15.0, 40.0)),
        centroid_lps_mm=(27.0, -3.0, 22.0),
    )
