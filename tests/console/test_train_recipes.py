"""`ichor train` with a teacher, and with pre-trainings: what it looks at, writes down, and never sees."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from console.cli.entry import run
from console.evaluation.case_volume import volume_of
from console.training.gathering import NoScans, gather
from console.training.teaching import Teacher, onto
from console.training.unmasked import NoSliceLabels, read_unmasked
from ichor.settings import load_settings
from models.phantoms import PhantomPlan, parse_lesion, write_phantom
from models.registry import SHIPPED_SPECS, SHIPPED_WEIGHTS, Registry
from models.training.curve import read_curve
from models.training.data.case import SliceLabels
from models.training.data.catalogue import read_data
from models.training.data.licence import PHANTOM
from models.training.recipe import RecipeInvalid, load_recipe
from models.training.sample import IGNORED
from models.vocabulary import label_named
from worker.grid import GridMapping, resample

LESIONS = ("iph:40:left", "sdh:40", "iph:35:right", "edh:40:left", "ivh:20", "iph:30:left")
RECIPE = """
name = "trained"
labels = ["IPH", "EAH", "oedema", "IVH"]
[[data]]
path = "phantoms"
[model]
network = "phantom-unet"
network_parameters = {channels = [6, 8, 8]}
spacing_zyx_mm = [6.0, 4.0, 4.0]
patch = [8, 32, 32]
[training]
steps = 4
batch = 2
validate_every = 4
precision = "float32"
threads = 1
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms with masks, and others beside them that nobody labelled."""
    folder = tmp_path_factory.mktemp("bench")
    for number, lesion in enumerate((*LESIONS, "iph:50:right", "sdh:45")):
        plan = PhantomPlan(
            lesions=(parse_lesion(lesion),),
            seed=number + 1,
            slice_thickness_mm=6,
            rows=96,
            columns=96,
            pixel_spacing_mm=2.5,
        )
        part = "phantoms" if number < len(LESIONS) else "unlabelled"
        write_phantom(folder / part / f"head-{number}", plan)
    return folder


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


def written(bench: Path, name: str, more: str, *, labels: str = '["IPH", "EAH", "oedema", "IVH"]') -> Path:
    path = bench / f"{name}.toml"
    path.write_text(RECIPE.replace('["IPH", "EAH", "oedema", "IVH"]', labels).replace('"trained"', f'"{name}"') + more)
    return path


TAUGHT = '[teacher]\nmodel = "phantom-demo"\ntop_share = 0.2\n[[teacher.data]]\npath = "unlabelled"\n'


def test_a_student_learns_from_a_teacher(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped model labels what nobody did; the student, its terms and its hash know of it."""
    command = ["train", str(written(bench, "student", TAUGHT)), "--cache", str(bench / "cache"), "--json"]
    assert run(command) == 0
    said = capsys.readouterr()
    manifest = json.loads(said.out)["manifest"]
    masks, taught = manifest["data"]
    assert (masks["use"], len(taught["training"])) == ("masks", 2)
    assert "phantom-demo" in taught["use"]
    assert "pseudo-labels of phantom-demo" in said.err
    assert manifest["licence"] == {"name": PHANTOM.name, "commercial": True, "terms": PHANTOM.terms}  # of both
    assert "pseudo-labels" in (tmp_path / "data" / "models" / "student" / "card.md").read_text()
    assert str(bench) not in json.dumps(manifest)


def test_the_terms_of_a_teacher_without_a_record_are_unclear(bench: Path, tmp_path: Path) -> None:
    """Nobody can say what a student of it may be used for."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    spec = json.loads((SHIPPED_SPECS / "phantom-demo.json").read_text())
    (folder / "model.json").write_text(json.dumps(spec | {"name": "stranger"}))
    shutil.copyfile(SHIPPED_WEIGHTS / "phantom-demo.safetensors", folder / "phantom-demo.safetensors")
    recipe = load_recipe(written(bench, "pupil", TAUGHT.replace("phantom-demo", "stranger")))
    teacher = Teacher.of("stranger", Registry(tmp_path), load_settings(None, environ={}))
    licence = gather(recipe, bench / "cache", teacher=teacher).licence
    assert licence.commercial is None
    assert "of the teacher stranger" in licence.terms


def test_pseudo_labels_lie_on_blood_and_leave_doubt_out(bench: Path) -> None:
    """Kept slices hold blood where the phantom bleeds; of all slices a fifth is kept, and no other voxel is known."""
    recipe = load_recipe(written(bench, "student", TAUGHT))
    registry = Registry(bench / "none")
    teacher = Teacher.of("phantom-demo", registry, load_settings(None, environ={}))
    gathered = gather(recipe, bench / "cache", teacher=teacher)
    alone = gather(replace(recipe, teacher=None), bench / "cache")
    assert gathered.heads.digest != alone.heads.digest
    assert gathered.licence == PHANTOM
    lessons = gathered.heads.training[len(alone.heads.training) :]
    assert len(lessons) == 2
    known = sum(int((one.labels_zyx != IGNORED).any(axis=(1, 2)).sum()) for one in lessons)
    every = sum(resampled_slices(bench, name) for name in ("head-6", "head-7"))
    assert known == round(0.2 * every)
    for lesson in lessons:
        blood = np.isin(lesson.labels_zyx, (1, 2))
        assert blood.sum() > 50
        assert 45 < float(np.median(lesson.hu_zyx[blood].astype(np.float32))) < 85
    with pytest.raises(NoScans, match="not loaded"):
        gather(recipe, bench / "cache")


def resampled_slices(bench: Path, name: str) -> int:
    (case,) = [one for one in read_data(bench / "unlabelled").cases if one.name == name]
    return len(resample(volume_of(case).volume, (6.0, 4.0, 4.0)).grid.hu_zyx)


def test_a_teacher_cannot_teach_what_it_does_not_know(bench: Path) -> None:
    """A label that it does not tell apart, and blood that no label stands for, are refused before anything is run."""
    teacher = Teacher.of("phantom-demo", Registry(bench / "none"), load_settings(None, environ={}))
    recipe = load_recipe(written(bench, "student", TAUGHT))
    for labels, why in ((("IPH", "SDH"), "SDH"), (("IPH",), "taught as healthy")):
        with pytest.raises(RecipeInvalid, match=why):
            gather(replace(recipe, labels=labels), bench / "cache", teacher=teacher)


def test_patients_of_the_labelled_data_are_not_taught_again(bench: Path) -> None:
    """A set of the same patients gives nothing to the teacher, and only those who train to a pre-training."""
    more = TAUGHT.replace("unlabelled", "phantoms")
    teacher = Teacher.of("phantom-demo", Registry(bench / "none"), load_settings(None, environ={}))
    gathered = gather(load_recipe(written(bench, "same", more)), bench / "cache", teacher=teacher)
    assert gathered.records[-1].training == ()
    assert any("in the labelled data" in note for note in gathered.records[-1].notes)
    look = '[pretraining]\nkind = "context-restoration"\nsteps = 2\n[[pretraining.data]]\npath = "phantoms"\n'
    gathered = gather(load_recipe(written(bench, "look", look)), bench / "cache")
    masks, seen = gathered.records
    assert set(seen.training) == set(masks.training)
    assert gathered.heads.material is not None


@pytest.mark.parametrize("kind", ["context-restoration", "multi-class-classification"])
def test_a_pretraining_looks_at_all_training_patients(kind: str, bench: Path, tmp_path: Path) -> None:
    """With a share of the labels it still sees every training patient, nobody who validates, and goes before."""
    more = f'[split]\nlabel_fraction = 0.25\n[pretraining]\nkind = "{kind}"\nsteps = 3\npatch = [8, 64, 64]\n'
    recipe = written(bench, "looked", more)
    out = tmp_path / "out"
    assert run(["train", str(recipe), "--cache", str(bench / "cache"), "--out", str(out)]) == 0
    manifest = json.loads((tmp_path / "data" / "models" / "looked" / "manifest.json").read_text())
    masks, seen = manifest["data"]
    assert (len(masks["training"]), seen["use"]) == (1, "pre-training")
    assert len(seen["training"]) == len(LESIONS) - len(masks["validation"])
    assert not set(seen["training"]) & set(masks["validation"])
    assert [one["step"] for one in read_curve(out / "seed-1" / "pretraining" / "curve.jsonl")] == [1, 2, 3]


def test_slices_of_a_table_are_marked_on_the_grid(bench: Path, tmp_path: Path) -> None:
    """What a table says of DICOM slices lies on the model's slices at the same place; a gap in the table is said."""
    (case,) = [one for one in read_data(bench / "unlabelled").cases if one.name == "head-6"]
    labels = [label_named(name, index) for index, name in enumerate(("IPH", "EAH"), start=1)]
    volume = volume_of(case).volume
    kinds = [
        frozenset({"IPH"}) if 8 <= k < 14 else frozenset({"SDH"} if k == 20 else ()) for k in range(len(volume.slices))
    ]
    slices = tuple(SliceLabels(file=one.path, subtypes=kind) for one, kind in zip(volume.slices, kinds, strict=True))
    plain = replace(case, masks=type(case.masks)(), slices=slices)
    found = read_unmasked(plain, labels, (3.0, 4.0, 4.0), tmp_path)
    assert found.marks_zc is not None
    count = found.marks_zc.sum(axis=0).tolist()
    assert count == [pytest.approx(14, abs=1), pytest.approx(12, abs=1), pytest.approx(2, abs=1)]
    assert found.marks_zc[np.flatnonzero(found.marks_zc[:, 1])[0], 0]
    assert not found.sample.labels_zyx.any()
    assert read_unmasked(plain, labels, (3.0, 4.0, 4.0), tmp_path).sha256 == found.sha256
    with pytest.raises(NoSliceLabels, match="not labelled"):
        read_unmasked(replace(plain, slices=slices[1:]), labels, (3.0, 4.0, 4.0), tmp_path)


def test_one_grid_onto_another(bench: Path) -> None:
    """Values of the teacher's grid at the student's points: a plane stays a plane, whatever the two spacings."""
    volume = volume_of(read_data(bench / "unlabelled").cases[0]).volume
    own, other = resample(volume, (4.0, 1.5, 1.5)), resample(volume, (6.0, 4.0, 2.0))
    plane = place_of(own)
    found = onto(plane.astype(np.float32), own, other)
    inside = (slice(1, -1),) * 3
    assert np.allclose(found[inside], place_of(other)[inside], atol=0.05)


def place_of(mapping: GridMapping) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return z + 2 y + 3 x in patient millimetres at every grid point."""
    z, y, x = mapping.grid.hu_zyx.shape
    zero = np.array(mapping.lps_of(0, 0, 0))
    steps = [np.array(mapping.lps_of(*one)) - zero for one in np.eye(3)]
    weights = np.array([3.0, 2.0, 1.0])
    value = weights @ zero + sum(
        (weights @ step) * index for step, index in zip(steps, np.ogrid[:z, :y, :x], strict=True)
    )
    return np.asarray(value)


def test_the_label_curve_is_measured(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each share and kind, scored on the test set; run again, nothing is trained twice; kinds are checked."""
    recipe, out = written(bench, "curve", '[pretraining]\nkind = "context-restoration"\nsteps = 2\n'), tmp_path / "out"
    command = ["benchmark", "labels", str(recipe), str(out), "--test", str(bench / "unlabelled")]
    command += ["--fraction", "0.25", "--pretraining", "context-restoration"]
    assert run([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(row["fraction"], row["pretraining"], row["scans"]) for row in said["rows"]] == [
        (0.25, "none", 1),
        (0.25, "context-restoration", 1),
    ]
    assert all(row["dice_pooled"] is not None and row["validation_dice"] is not None for row in said["rows"])
    assert (said["steps"], said["pretraining_steps"]) == (4, 2)
    assert str(bench) not in said["command"]
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.jsonl")}
    assert len([path for path in made if "pretraining-context-restoration" in str(path)]) == 1
    assert run(command) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.jsonl")} == made
    assert run([*command, "--pretraining", "osmosis"]) == 2
