"""Bleeds painted into the head of a person: where and as much as asked for, nothing else changed, nobody named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from console.cli.entry import run
from console.evaluation.case_volume import volume_of
from console.painting.benchmark import write_painted
from console.painting.study import Canvas, paint_study
from ichor.errors import NotAnalysable
from models.phantoms import PhantomInvalid, parse_lesion
from models.phantoms.painted import painted_studies
from models.training.data.catalogue import read_data
from models.training.data.licence import PAINTED, PHANTOM, drawn_alone, inherited
from tests.peers.programs import require
from worker.series import read_studies
from worker.volume import Volume, read_volume

ASKED = (("iph:6:right:oedema=12", "right"), ("sdh:10:left", "left"), ("edh:3:right", "right"))


@pytest.fixture(scope="module")
def canvas(test_data_dir: Path) -> Canvas:
    return Canvas.of(test_data_dir / "ge-hispeed-tilt")


@pytest.fixture(scope="module")
def painted(canvas: Canvas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tilted head of uneven slices with one bleed of each kind."""
    out = tmp_path_factory.mktemp("painted") / "head-01"
    paint_study(out, canvas, tuple(parse_lesion(text) for text, _ in ASKED), 7)
    return out


def volume_in(folder: Path) -> Volume:
    (study,) = read_studies([folder / "dicom"])
    return read_volume(study.series[0])


def labels_in(folder: Path) -> np.ndarray:
    return np.asarray(nib.load(folder / "truth.nii.gz").dataobj).transpose(2, 1, 0)  # type: ignore[attr-defined]


def test_volumes_and_sides_are_those_asked_for(painted: Path) -> None:
    """Each bleed has its millilitres in the slices' voxels, to 3 %, and lies on its side of the head."""
    stated = json.loads((painted / "truth.json").read_text())
    volume, labels = volume_in(painted), labels_in(painted)
    for (text, side), lesion in zip(ASKED, stated["lesions"], strict=True):
        wanted_ml = parse_lesion(text).volume_ml
        assert lesion["sampled_ml"] == pytest.approx(wanted_ml, rel=0.03)
        assert lesion["laterality"] == side
    for value, ml in ((1, 6.0), (2, 13.0)):
        counted = sum(float((labels[k] == value).sum()) * volume.voxel_ml(k) for k in range(len(volume.slices)))
        assert counted == pytest.approx(ml, rel=0.03)
    assert stated["volumes_ml"]["oedema"] == pytest.approx(stated["lesions"][0]["oedema_sampled_ml"], abs=0.01)
    for k, place in enumerate(stated["positions_lps_mm"]):
        assert place == pytest.approx(volume.slices[k].position_lps_mm, abs=1e-3)


def test_it_looks_like_blood_and_nothing_else_is_touched(painted: Path, canvas: Canvas) -> None:
    """Marked blood is denser than brain by what blood is; far from any lesion every HU is the scan's own."""
    before, after, labels = canvas.case.volume, volume_in(painted), labels_in(painted)
    blood = np.isin(labels, (1, 2))
    assert 50 < float(np.median(after.hu_kji[blood])) < 75
    assert float(np.median(after.hu_kji[labels == 3])) < float(np.median(before.hu_kji[labels == 3]))
    changed = before.hu_kji != after.hu_kji
    assert changed[blood].mean() > 0.9
    slices = sorted(set(np.nonzero(labels.any(axis=(1, 2)))[0]))
    assert not changed[: slices[0] - 2].any()
    assert not changed[slices[-1] + 3 :].any()
    assert changed.sum() < 3 * (labels > 0).sum()
    noise = after.hu_kji.astype(float)[labels == 1].std()
    assert noise > 2  # the scan's own noise goes on in the blood


def test_nobody_is_named(painted: Path, canvas: Canvas) -> None:
    """No UID, name, date or private attribute of the source is in the copy, and it says what it is."""
    source = [pydicom.dcmread(path) for path in canvas.series.paths]
    uids = {
        str(one[key].value) for one in source for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    }
    for path in sorted((painted / "dicom").glob("*.dcm")):
        copy = pydicom.dcmread(path)
        assert not {str(element.value) for element in copy.iterall()} & uids
        assert str(copy.PatientName) == "PAINTED^ICHOR"
        assert "NOT FOR DIAGNOSIS" in copy.StudyDescription
        assert not any(element.tag.is_private for element in copy.iterall())
        assert copy.StudyDate == "20200101"


def test_dciodvfy_finds_no_error(painted: Path) -> None:
    """The images are valid CT Image Storage for a second implementation, as far as the scan's own attributes are."""
    verifier = require("dciodvfy")
    for path in sorted((painted / "dicom").glob("*.dcm"))[::9]:
        said = subprocess.run([verifier, str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr


def test_a_head_as_it_is(canvas: Canvas, tmp_path: Path) -> None:
    """Without a lesion every HU is the scan's, and the truth is empty: a negative."""
    truth = paint_study(tmp_path / "plain", canvas, (), 1)
    assert truth.lesions == ()
    assert np.array_equal(volume_in(tmp_path / "plain").hu_kji, canvas.case.volume.hu_kji)
    assert not labels_in(tmp_path / "plain").any()


def test_they_are_one_patient_under_its_owners_terms(painted: Path) -> None:
    """A split cannot put one head on both sides; what is trained on drawn bleeds alone is never for patients."""
    data = read_data(painted.parent)
    assert data.faults == ()
    assert data.licence == PAINTED
    (case,) = data.cases
    assert volume_of(case).uneven is not None  # the scan's slices lie so
    assert ":painted:" in case.patient
    assert case.subtypes == frozenset({"IPH", "SDH", "EDH"})
    assert drawn_alone(inherited((PHANTOM, PAINTED)))


@pytest.mark.parametrize("lesion", ["sah:3", "ivh:2", "iph:3+sah:1"])
def test_what_cannot_be_known_is_not_painted(lesion: str, canvas: Canvas, tmp_path: Path) -> None:
    """Nobody drew this head's sulci and ventricles."""
    lesions = tuple(parse_lesion(one) for one in lesion.split("+"))
    with pytest.raises(PhantomInvalid, match="sulci and ventricles"):
        paint_study(tmp_path / "x", canvas, lesions, 1)
    assert not (tmp_path / "x").exists()


def test_a_scan_without_a_brain_is_refused(test_data_dir: Path) -> None:
    """A skull full of air, and a folder of several series."""
    with pytest.raises(PhantomInvalid, match="no whole head"):
        Canvas.of(test_data_dir / "philips-ingenuity" / "axial-5mm")
    with pytest.raises(NotAnalysable, match="series"):
        Canvas.of(test_data_dir / "philips-ingenuity")


def test_the_part_of_the_benchmark(
    canvas: Canvas, tmp_path: Path, test_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study is written once; one that was painted into another head is not gone on with."""
    monkeypatch.setattr(Canvas, "of", lambda _folder: canvas)
    few = painted_studies()[:2]
    monkeypatch.setattr("console.painting.benchmark.painted_studies", lambda: few)
    head = test_data_dir / "ge-hispeed-tilt"
    first, second = write_painted(tmp_path, [head])
    assert (first.name, second.name) == ("ge-hispeed-tilt-01", "ge-hispeed-tilt-02")
    stamp = (second / "truth.json").stat().st_mtime_ns
    write_painted(tmp_path, [head])
    assert (second / "truth.json").stat().st_mtime_ns == stamp
    stated = json.loads((first / "truth.json").read_text())
    (first / "truth.json").write_text(json.dumps(stated | {"painted_into": "another"}))
    with pytest.raises(PhantomInvalid, match="another head"):
        write_painted(tmp_path, [head])
    with pytest.raises(PhantomInvalid, match="one name"):
        write_painted(tmp_path, [head, head])


def test_heads_and_the_part_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The painted part without a head, and a head without that part, are refused with a sentence."""
    for more in (["--part", "painted"], ["--part", "test", "--into", str(tmp_path)]):
        assert run(["phantom", str(tmp_path / "out"), "--benchmark", *more]) != 0
        assert "go together" in " ".join(capsys.readouterr().err.replace("│", " ").split())
