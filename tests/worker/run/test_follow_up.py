"""A follow-up in the same study: analysed when it comes, and compared with the scan before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.painting import LEFT_FRONTAL_GE, paint
from tests.worker.run.node import Node
from worker.result import AnalysisResult


def test_a_follow_up_is_analysed_and_compared(node: Node, test_data_dir: Path, tmp_path: Path) -> None:
    """Six hours later in the same study: the newer scan supersedes, says the change, and names the older one."""
    study_uid = ""
    results: list[AnalysisResult] = []
    now = datetime.now(tz=UTC).astimezone()
    for number, (scale, scanned_at) in enumerate(((0.8, now - timedelta(hours=6)), (1.0, now))):
        attributes = {
            "AcquisitionDate": scanned_at.strftime("%Y%m%d"),
            "AcquisitionTime": scanned_at.strftime("%H%M%S"),
        }
        if study_uid:
            attributes["StudyInstanceUID"] = study_uid
        lesion = replace(
            LEFT_FRONTAL_GE,
            semi_axes_mm=tuple(scale * axis for axis in LEFT_FRONTAL_GE.semi_axes_mm),  # type: ignore[arg-type]
        )
        series = paint(
            test_data_dir / "ge-hispeed-tilt", tmp_path / str(number), lesion, seed=number, attributes=attributes
        )
        study_uid = node.file(series.paths)
        node.settle()
        node.drain("analyse")
        written = [AnalysisResult.from_json(row.summary_json) for row in node.detail(study_uid).results]
        results.append(max(written, key=lambda result: result.written_at))
        assert results[-1].series_instance_uid == series.series_instance_uid
    first, later = results
    assert first.change is None
    assert later.change is not None
    assert first.total_haemorrhage_ml is not None
    assert later.total_haemorrhage_ml is not None
    assert later.change.prior_scanned_at == first.scanned_at
    assert later.change.change_ml == pytest.approx(later.total_haemorrhage_ml - first.total_haemorrhage_ml, abs=0.001)
    assert later.change.change_ml > 3.0
    assert later.change.change_percent is not None
    assert "other_acquisition" in [warning.code for warning in later.warnings]
