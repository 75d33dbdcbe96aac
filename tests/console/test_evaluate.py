"""`ichor evaluate` and `ichor compare`: exit codes, JSON, and a report that is one file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from console.cli.entry import run
from console.evaluation.abc2 import truth_abc2_ml
from console.evaluation.picture import ANSWER_RGB, TRUTH_RGB, PictureMasks, draw_worst_slice
from models.evaluation.grid import MaskGrid
from models.evaluation.mask_file import BadMask, read_seg
from models.spec import load_spec
from tests.models.evaluation.mask_files import AFFINE, labels, write_nifti
from tests.worker.output.cases import Geometry, context, finding, paint_ball, read_case, write_series
from worker.output.seg import write_seg
from worker.output.words import short_title

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two scans and two systems; the second system missed one."""
    for name, first in (("one", 2), ("two", 8)):
        write_nifti(tmp_path / "truth" / f"{name}.nii.gz", labels((first, 1)))
        write_nifti(tmp_path / "good" / f"{name}.nii.gz", labels((first, 1)))
        write_nifti(tmp_path / "poor" / f"{name}.nii.gz", labels((first, 1)) if name == "one" else labels())
        write_nifti(tmp_path / "ct" / f"{name}.nii.gz", np.full((24, 20, 6), 35, dtype=np.int16))
    return tmp_path


def test_json_and_report(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on stdout; the report holds every scan, its plots and pictures, and asks for nothing from outside."""
    report = folders / "report.html"
    command = ["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "poor"), "--json"]
    assert run([*command, "--html", str(report), "--images", str(folders / "ct")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["schema"], result["kind"], result["summary"]["scans"]) == (1, "evaluation", 2)
    page = report.read_text()
    assert page.count("<svg") >= 4
    assert page.count("data:image/png;base64,") == 2
    assert all(name in page for name in ("one", "two", "infinite", "Research use only"))
    assert re.search(r"https?://|<script|<link", page) is None
    assert str(folders) not in page


def test_tables(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json people get tables."""
    assert run(["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "good")]) == 0
    assert "1.000" in capsys.readouterr().out


def test_exit_codes(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """3 where a scan could not be scored, 2 for wrong usage, 1 where there is nothing to score."""
    (folders / "good" / "two.nii.gz").unlink()
    assert run(["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "good")]) == 3
    assert "two: there is a truth but no answer" in capsys.readouterr().out
    assert run(["evaluate", "--truth", str(folders / "truth")]) == 2
    assert run(["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "nowhere")]) == 1
    assert run(["evaluate", "--truth", str(folders / "ct"), "--pred", str(folders / "ct")]) == 1
    maps = ["--label-map", "seven-class"]
    assert run(["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "truth"), *maps]) == 1


def test_compare(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders and JSON files can stand on either side."""
    assert run(["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "good"), "--json"]) == 0
    (folders / "good.json").write_text(capsys.readouterr().out)
    command = ["compare", str(folders / "good.json"), str(folders / "poor")]
    assert run([*command, "--truth", str(folders / "truth"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["a"], result["b"], result["scans"]) == ("good", "poor", 2)
    assert run([*command, "--truth", str(folders / "truth")]) == 0
    assert run(command) == 2


def test_dicom_seg_against_a_nifti_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the node writes is scored as it is, on a grid with any axes; a SEG of other slices is named."""
    spec = load_spec(ROOT / "models" / "specs" / "blast-ct-v1.json")
    geometry = Geometry(step_lps_mm=(0.0, 1.2, 5.0))
    series, volume = read_case(write_series(tmp_path / "ct", geometry))
    marked = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, marked, 1, (30.0, 0.0, 0.0), 16.0)
    paint_ball(volume, marked, 2, (-40.0, 10.0, 0.0), 12.0)
    findings = tuple(finding(volume, marked, spec, name) for name in ("IPH", "EAH"))
    (tmp_path / "answers" / "a").mkdir(parents=True)
    write_seg(context(series, volume, marked, spec, findings)).save_as(tmp_path / "answers" / "a" / "seg.dcm")
    affine = np.eye(4)
    affine[:3, 0] = (-geometry.spacing_mm, 0, 0)
    affine[:3, 1] = (0, -geometry.spacing_mm, 0)
    affine[:3, 2] = (0, -1.2, 5.0)
    affine[:3, 3] = np.array(volume.slices[0].position_lps_mm) * (-1, -1, 1)
    truth = nib.Nifti1Image(marked.transpose(2, 1, 0), affine)  # type: ignore[no-untyped-call]
    truth = truth.as_reoriented(np.array([[1, -1], [2, 1], [0, 1]]))  # type: ignore[no-untyped-call]  # other axes and directions
    (tmp_path / "truth" / "a").mkdir(parents=True)
    nib.save(truth, tmp_path / "truth" / "a" / "truth.nii.gz")
    command = ["evaluate", "--truth", str(tmp_path / "truth"), "--pred", str(tmp_path / "answers"), "--json"]
    assert run([*command, "--label-map", "blast-ct-v1"]) == 0
    (scan,) = json.loads(capsys.readouterr().out)["scans"]
    assert {one["name"]: one["dice"] for one in scan["classes"]} == {"any": 1.0, "IPH": 1.0, "IVH": None, "EAH": 1.0}
    moved = affine.copy()
    moved[2, 3] += 2.5
    with pytest.raises(BadMask, match="grid"):
        read_seg(
            tmp_path / "answers" / "a" / "seg.dcm",
            MaskGrid(shape=(64, 64, 10), affine_ras=moved),
            {short_title(one.title): one.index for one in spec.labels},
        )


def test_picture_shows_the_patients_right_on_the_left() -> None:
    """A mark on the patient's right and in front is drawn in the upper left, whatever the order of the axes."""
    mask = np.zeros((40, 40, 4), dtype=bool)
    mask[30:36, 28:34, 2] = True  # RAS: right, front
    for flip in (False, True):
        affine = np.diag([1.0, 1.0, 5.0, 1.0])
        shown = mask
        if flip:
            affine[0, 0], affine[0, 3] = -1.0, 39.0
            shown = mask[::-1]
        grid = MaskGrid(shape=(40, 40, 4), affine_ras=affine)
        picture = np.asarray(draw_worst_slice(PictureMasks(answer=shown, truth=np.zeros_like(shown), grid=grid)))
        rows, columns = np.nonzero((picture == ANSWER_RGB).all(axis=2))
        assert rows.mean() < picture.shape[0] / 2
        assert columns.mean() < picture.shape[1] / 2
        assert not (picture == TRUTH_RGB).all(axis=2).any()


def test_abc2_of_the_truth() -> None:
    """A box of 4 x 10 x 4 voxels, 2 x 5 x 20 mm; of two bleeds, and of none, there is no ABC/2."""
    grid = MaskGrid(shape=(24, 20, 6), affine_ras=AFFINE)
    found = truth_abc2_ml(labels((2, 1)) > 0, grid)
    assert found is not None
    assert 2 * 5 * 20 / 2000 < found < 1.2 * 2 * 5 * 20 / 2000  # a little more: a box's diagonals are its axes
    assert truth_abc2_ml(labels((2, 1), (12, 1)) > 0, grid) is None
    assert truth_abc2_ml(labels() > 0, grid) is None


def test_volume_error_stands_beside_that_of_abc2(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over the same scans: the perfect system has no error, the ruler has one."""
    assert run(["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "good"), "--json"]) == 0
    held = json.loads(capsys.readouterr().out)["summary"]["against_abc2"]
    assert (held["answer"][0]["scans"], held["answer"][0]["mean_ml"]) == (2, 0.0)
    assert held["abc2"][0]["mean_ml"] > 0
