"""`ichor evaluate --model NAME --data DIR`: the node's own way, from DICOM and from NIfTI, over tilted scans too."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from console.cli.entry import run
from console.evaluation.case_volume import volume_of
from models.evaluation.evaluation import Question, evaluate
from models.evaluation.label_map import FOUR_CLASS
from models.evaluation.mask_file import read_mask
from models.evaluation.pairing import MaskFiles, Pair, Pairing
from models.phantoms import PhantomPlan, parse_lesion, write_phantom
from models.training.data.case import Case
from models.training.data.catalogue import read_data
from tests.models.evaluation.mask_files import write_nifti


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tilted phantom with a large bleed."""
    folder = tmp_path_factory.mktemp("phantoms")
    plan = PhantomPlan(
        lesions=(parse_lesion("iph:40:left"),),
        seed=3,
        tilt_deg=12,
        slice_thickness_mm=6,
        rows=96,
        columns=96,
        pixel_spacing_mm=2.4,
    )
    write_phantom(folder / "one", plan)
    return folder


def as_nifti(studies: Path, folder: Path) -> None:
    """Write the phantom's scan as a NIfTI pair, slices from head to foot, the mask's header wrong."""
    held = volume_of(Case(name="one", patient="one", dicom=tuple(sorted((studies / "one" / "dicom").glob("*.dcm")))))
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = held.volume.hu_kji.shape[0] - 1
    affine = held.affine_ras @ flip
    write_nifti(folder / "images" / "one.nii.gz", held.volume.hu_kji.transpose(2, 1, 0)[:, :, ::-1], affine)
    truth = np.asanyarray(nib.load(studies / "one" / "truth.nii.gz").dataobj)  # type: ignore[attr-defined]
    write_nifti(folder / "labels" / "one.nii.gz", truth[:, :, ::-1], np.diag([9.0, 9.0, 9.0, 1.0]))


def test_dicom_and_nifti_are_the_same_volume(studies: Path, tmp_path: Path) -> None:
    """The same voxels in the same places, in any format and order of slices; labels go back where they lie."""
    files = tuple(sorted((studies / "one" / "dicom").glob("*.dcm")))
    as_nifti(studies, tmp_path)
    one = volume_of(Case(name="one", patient="one", dicom=files))
    other = volume_of(Case(name="one", patient="one", image=tmp_path / "images" / "one.nii.gz"))
    assert np.array_equal(one.volume.hu_kji, other.volume.hu_kji)
    places = [[held.volume.lps_of(k, 5, 9) for k in range(held.volume.hu_kji.shape[0])] for held in (one, other)]
    assert np.allclose(places[0], places[1], atol=1e-3)
    labels = np.zeros(one.volume.hu_kji.shape, dtype=np.uint8)
    labels[2, 7, 11] = 4
    for name, held in (("one", one), ("other", other)):
        held.write_labels(tmp_path / f"{name}.nii.gz", labels)
        mask = read_mask(tmp_path / f"{name}.nii.gz")
        (place,) = mask.grid.places_mm(np.argwhere(mask.labels_ijk == 4)) * (-1, -1, 1)
        assert np.allclose(place, one.volume.lps_of(2, 7, 11), atol=1e-3)


def test_a_model_over_a_data_set(studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A phantom study is found, segmented and scored on its own tilted grid; terms and tilt are told."""
    command = ["evaluate", "--model", "phantom-demo", "--data", str(studies), "--json"]
    assert run([*command, "--keep", str(tmp_path / "kept")]) == 0
    result = json.loads(capsys.readouterr().out)
    (scan,) = result["scans"]
    assert scan["classes"][0]["dice"] > 0.5
    assert scan["sheared"]
    assert 0 < scan["probability"] <= 1
    assert (tmp_path / "kept" / "one.nii.gz").is_file()
    assert any("Apache-2.0" in note for note in result["notes"])


def test_uneven_slices_count_by_their_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report's millilitres of the truth are those of `truth.json`, which knows the slices, and so are distances."""
    plan = PhantomPlan(
        lesions=(parse_lesion("iph:30:left"), parse_lesion("edh:20:right")),
        seed=3,
        tilt_deg=8,
        gaps_mm=(*(4.0,) * 18, *(9.0,) * 9),
        rows=96,
        columns=96,
        pixel_spacing_mm=2.4,
    )
    write_phantom(tmp_path / "set" / "one", plan)
    truth = json.loads((tmp_path / "set" / "one" / "truth.json").read_text())
    assert run(["evaluate", "--model", "phantom-demo", "--data", str(tmp_path / "set"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (scan,) = result["scans"]
    counted = {one["name"]: one["truth_ml"] for one in scan["classes"]}
    for name in ("IPH", "EAH"):
        assert counted[name] == pytest.approx(truth["volumes_ml"][name], rel=1e-3)
    assert sum(lesion["volume_ml"] for lesion in scan["lesions"]["lesions"]) == pytest.approx(counted["any"], abs=0.1)
    assert scan["uneven"]
    assert scan["classes"][0]["nsd"] is None
    assert any("uneven distances: one." in note for note in result["notes"])
    (case,) = read_data(tmp_path / "set").cases
    places = volume_of(case).uneven
    assert places is not None
    positions = np.array(truth["positions_lps_mm"]) * (-1, -1, 1)
    assert np.allclose(places.first_ras_mm, positions, atol=1e-3)


def test_the_scans_place_holds(studies: Path, tmp_path: Path) -> None:
    """A mask whose header lies is scored where its scan is, and the data set says so."""
    as_nifti(studies, tmp_path)
    data = read_data(tmp_path, label_map=FOUR_CLASS)
    assert any("affine differs" in note for note in data.notes)
    (case,) = data.cases
    held = volume_of(case)
    held.write_labels(tmp_path / "answer.nii.gz", np.zeros(held.volume.hu_kji.shape, dtype=np.uint8))
    answer = MaskFiles(mask=tmp_path / "answer.nii.gz")
    pair = Pair(name="one", truth=case.masks, answer=answer, image=case.image)
    question = Question(system="nothing", data="one", truth_map=FOUR_CLASS, answer_map=FOUR_CLASS)
    found = evaluate(Pairing(pairs=(pair,), faults=()), question)
    assert found.faults == ()
    assert found.scans[0].any.truth_ml == pytest.approx(40, rel=0.1)


def test_what_cannot_be_run_is_said(studies: Path, tmp_path: Path) -> None:
    """Unknown models and data sets, data without masks, and half a command line."""
    data = ["--data", str(studies)]
    assert run(["evaluate", "--model", "phantom-demo"]) == 2
    assert run(["evaluate", "--model", "phantom-demo", *data, "--truth", str(studies)]) == 2
    assert run(["evaluate", "--model", "no-such-model", *data]) == 1
    assert run(["evaluate", "--model", "phantom-demo", "--data", str(tmp_path)]) == 1
    write_nifti(tmp_path / "bare" / "images" / "a.nii.gz", np.zeros((8, 8, 4), dtype=np.int16))
    assert run(["evaluate", "--model", "phantom-demo", "--data", str(tmp_path / "bare")]) == 1


def test_benchmark_parts_have_names(tmp_path: Path) -> None:
    """A part that there is not is wrong usage, before anything is written."""
    assert run(["phantom", str(tmp_path / "out"), "--benchmark", "--part", "validation"]) == 2
    assert not (tmp_path / "out").exists()


def test_extras_stand_in_the_name(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mirror images and post-processing make another system with figures of its own; what does not fit is refused."""
    command = ["evaluate", "--model", "phantom-demo", "--data", str(studies), "--json"]
    assert run(command) == 0
    plain = json.loads(capsys.readouterr().out)
    assert run([*command, "--with", "mirror", "--with", "tenth"]) == 0
    extra = json.loads(capsys.readouterr().out)
    assert (plain["system"], extra["system"]) == ("phantom-demo", "phantom-demo + mirror + tenth")
    marked = [one["scans"][0]["classes"][0]["answer_ml"] for one in (plain, extra)]
    assert marked[0] != marked[1]
    assert abs(marked[0] - marked[1]) < 0.5 * marked[0]
    assert run([*command, "--with", "claim"]) == 1
    assert "claim" in capsys.readouterr().err
    assert run([*command, "--with", "magic"]) == 2
