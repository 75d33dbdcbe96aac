"""A scan is compared with the latest one before it of the same patient, in another study; in doubt with none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.worker.run.heads import bled, write_head
from tests.worker.run.node import Node
from worker.change import Change
from worker.result import AnalysisResult

NOW = datetime.now(tz=UTC).replace(microsecond=0)
YESTERDAY = NOW - timedelta(hours=20)


def change(node: Node, paths: list[Path]) -> Change | None:
    """Analyse a study; give the change that its result states."""
    study = node.file(paths)
    node.settle()
    node.drain("analyse")
    (row,) = node.detail(study).results
    return AnalysisResult.from_json(row.summary_json).change


def test_a_later_study_of_the_patient_says_the_change(node: Node, tmp_path: Path) -> None:
    """Against the latest comparable scan: not against an older one, nor against one that was taken after it."""
    change(node, write_head(tmp_path, "a", NOW - timedelta(days=2), bled(25.0), study="older"))
    change(node, write_head(tmp_path, "a", YESTERDAY, bled(15.0), study="before"))
    change(node, write_head(tmp_path, "a", NOW + timedelta(hours=1), bled(30.0), study="after"))
    found = change(node, write_head(tmp_path, "a", NOW, bled(20.0), study="now"))
    assert found is not None
    assert found.prior_scanned_at == YESTERDAY
    assert found.change_ml > 3.0
    assert found.change_percent is not None


OTHERS: tuple[dict[str, Any], ...] = (
    {"PatientID": "OTHER"},
    {"PatientID": ""},
    {"PatientName": "Another^Person"},
    {"PatientBirthDate": "19600103"},
    {"IssuerOfPatientID": "ELSEWHERE"},
    {"PatientSex": "F"},
)


def test_another_patient_is_never_compared_with(node: Node, tmp_path: Path) -> None:
    """Whatever tells two patients apart is enough."""
    change(node, write_head(tmp_path, "a", YESTERDAY, bled(15.0), study="before"))
    for number, elements in enumerate(OTHERS):
        paths = write_head(tmp_path, "a", NOW, bled(20.0), study=f"now-{number}", **elements)
        assert change(node, paths) is None


def test_a_prior_whose_images_are_gone_is_not_compared_with(node: Node, tmp_path: Path) -> None:
    """Who it was cannot be read again, so nothing is said."""
    paths = write_head(tmp_path, "a", YESTERDAY, bled(15.0), study="before")
    study = node.file(paths)
    node.settle()
    node.drain("analyse")
    for path in (node.settings.data_dir / "spool").rglob("*.dcm"):
        path.unlink()
    assert node.detail(study).study.conclusion == "suspected"
    assert change(node, write_head(tmp_path, "a", NOW, bled(20.0), study="now")) is None
