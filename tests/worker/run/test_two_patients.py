"""Images of two patients under one Study Instance UID: nobody gets the other's result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.worker.geometry.scans import Scan, head_scan
from tests.worker.run.node import Node
from worker.result import AnalysisResult

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
BEGINNING = {"AcquisitionDate": "20260304", "TimezoneOffsetFromUTC": "+0000"}


def head(name: str, patient: str, at: datetime) -> Scan:
    """A head of a patient, scanned at a moment."""
    heights = tuple(-80.0 + 5.0 * n for n in range(33))
    drawn = head_scan(heights_mm=heights)
    who = {"PatientID": patient, "PatientName": f"Zz^{patient}", "AcquisitionTime": f"{at:%H%M%S}"}
    return Scan(plane=drawn.plane, stored_kji=drawn.stored_kji, series=name, elements=BEGINNING | who)


def results_of(node: Node, folder: Path, *scans: Scan) -> list[AnalysisResult]:
    """Analyse each as it comes into one study; give the results that stand, the earliest scan first."""
    for scan in scans:
        uid = node.file(scan.write(folder / scan.series))
        node.settle()
        node.drain("analyse")
    standing = [row for row in node.detail(uid).results if row.superseded_by_id is None]
    standing.sort(key=lambda row: row.acquired_at or row.created_at)
    return [AnalysisResult.from_json(row.summary_json) for row in standing]


def test_a_scan_is_not_compared_with_another_patient_s(node: Node, tmp_path: Path) -> None:
    """An earlier scan in the same study is a prior of the same patient only."""
    later = NOON + timedelta(hours=1)
    first, second = results_of(node, tmp_path / "same", head("a", "P1", NOON), head("b", "P1", later))
    assert (first.change, second.change is None) == (None, False)


def test_nor_told_as_if_it_were_the_only_one(node: Node, tmp_path: Path) -> None:
    """The result says that the study holds images in another name, and speaks of no change."""
    later = NOON + timedelta(hours=1)
    _, second = results_of(node, tmp_path / "other", head("a", "P1", NOON), head("b", "P2", later))
    assert second.change is None
    assert "other_registration" in {warning.code for warning in second.warnings}
