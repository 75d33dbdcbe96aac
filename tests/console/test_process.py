"""What `ichor process` leaves in its folder: the result of these files, whatever is wrong with them, and no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.cli.entry import run
from console.cli.outcome import ExitCode
from console.cli.process import analyse_each, exit_code
from ichor.errors import GeometryError
from models.segmenter import HeadGrid, Segmentation
from tests.worker.run.threshold import Threshold
from worker.gate import load_rules
from worker.pipeline import Recipe, examine, read_one_study


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the command out of the home directory of the person who runs the tests."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Misplaced(Threshold):
    """Finds that what it was given does not fit together."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Fail for good."""
        raise GeometryError(f"{grid.spacing_zyx_mm} does not fit {on_progress}.")


def test_no_old_result_is_left_beside_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A script that looks only at the folder must not read one patient's result as another's."""
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    for name in ("result.json", "summary.dcm"):
        (out / name).write_bytes(b"of another patient")
    assert run(["process", str(tmp_path / "in"), "--out", str(out)]) == 1
    assert list(out.iterdir()) == []


def test_a_failure_is_a_result_too(test_data_dir: Path, tmp_path: Path) -> None:
    """Exit code 1, and a result.json and a summary that say that the analysis failed, and why."""
    recipe = Recipe(segmenter_for=Misplaced, rules=load_rules(None))
    (analysis,) = analyse_each(read_one_study([test_data_dir / "ge-hispeed-tilt"]), recipe, tmp_path, None)
    assert exit_code(analysis) == ExitCode.FAILED
    result = json.loads((analysis.out / "result.json").read_text())
    assert (result["status"], result["conclusion"], result["findings"]) == ("failed", None, [])
    assert [reason["code"] for reason in result["reasons"]] == [GeometryError.code]
    assert (analysis.out / "summary.dcm").exists()


@pytest.mark.parametrize(("keep_bytes", "name"), [(200_000, "01.dcm"), (300, "01.dcm")])
def test_cut_files_are_said_to_be_missing(test_data_dir: Path, tmp_path: Path, keep_bytes: int, name: str) -> None:
    """A result made without a slice that could not be read says so; junk beside the images is nobody's concern."""
    folder = tmp_path / "in"
    shutil.copytree(test_data_dir / "ge-hispeed-tilt", folder)
    (folder / "notes.txt").write_text("junk")
    rules = load_rules(None)
    (whole,) = examine(read_one_study([folder]), rules)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:keep_bytes])
    (cut,) = examine(read_one_study([folder]), rules)
    assert "files_left_out" not in {warning.code for warning in getattr(whole, "warnings", ())}
    assert "files_left_out" in {warning.code for warning in getattr(cut, "warnings", ())}


def test_the_alert_threshold_is_that_of_the_settings(
    test_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would call nobody on the node calls nobody here, and the words say so."""
    channel = {"name": "on-call", "url": "http://127.0.0.1:1/", "secret": "s", "min_volume_ml": 900.0}
    monkeypatch.setenv("ICHOR_ALERTS", json.dumps([channel]))
    folder = str(test_data_dir / "ge-hispeed-tilt")
    assert run(["process", folder, "--out", str(tmp_path / "out"), "--model", "phantom-demo"]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["conclusion"], result["alert"]) == ("suspected", False)
