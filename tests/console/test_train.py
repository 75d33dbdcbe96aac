"""`ichor train`: from a recipe to a model that `ichor process` runs; killed in the middle; and what it names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from console.cli.entry import run
from console.training import task
from console.training.gathering import gather
from console.training.samples import Reading, read_samples
from models.evaluation.label_map import BINARY, FOUR_CLASS
from models.evaluation.mask_file import read_mask
from models.phantoms import PhantomPlan, parse_lesion, write_phantom
from models.registry import Registry
from models.training.checkpoint import CheckpointUnfit
from models.training.curve import read_curve
from models.training.data.case import Case
from models.training.data.catalogue import read_data
from models.training.data.overlap import DataOverlap
from models.training.recipe import load_recipe
from models.training.trainer import CURVE
from tests.models.evaluation.mask_files import AFFINE, labels, write_nifti
from tests.models.training.data import layouts

LESIONS = ("iph:40:left", "sdh:40", "iph:35:right", "edh:40:left", "ivh:20", "iph:30:left")

RECIPE = """
name = "trained"
labels = ["IPH", "EAH", "oedema", "IVH"]
[[data]]
path = "phantoms"
[model]
network = "phantom-unet"
network_parameters = {channels = [8, 16, 24]}
spacing_zyx_mm = [6.0, 4.0, 4.0]
patch = [8, 32, 32]
window = [16, 64, 64]
[training]
steps = 36
batch = 4
learning_rate = 0.01
loss = "dice-ce-present"
validate_every = 18
checkpoint_every = 6
precision = "float32"
threads = 1
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few phantoms, one tilted, and a recipe beside them."""
    folder = tmp_path_factory.mktemp("bench")
    for number, lesion in enumerate(LESIONS):
        plan = PhantomPlan(
            lesions=(parse_lesion(lesion),),
            seed=number + 1,
            tilt_deg=12 if number == 0 else 0,
            slice_thickness_mm=6,
            rows=160,
            columns=160,
            pixel_spacing_mm=1.5,
        )
        write_phantom(folder / "phantoms" / f"head-{number}", plan)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


def test_a_trained_model_runs(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, it stands in the registry with card and manifest, and `ichor process` marks a phantom with it."""
    command = ["train", str(bench / "recipe.toml"), "--cache", str(bench / "cache"), "--json"]
    assert run([*command, "--seed", "1", "--seed", "2"]) == 0
    said = json.loads(capsys.readouterr().out)
    manifest = said["manifest"]
    assert [one["seed"] for one in manifest["seeds"]] == [1, 2]
    (data,) = manifest["data"]
    assert len(data["training"]) + len(data["validation"]) == len(LESIONS)
    assert not set(data["training"]) & set(data["validation"])
    place = tmp_path / "data" / "models" / "trained"
    assert json.loads((place / "manifest.json").read_text()) == manifest
    assert str(tmp_path) not in (place / "manifest.json").read_text() + (place / "card.md").read_text()
    card = (place / "card.md").read_text()
    assert said["digest"] in card
    assert "Apache-2.0" in card
    assert card.startswith("# trained, version 1: NEVER FOR PATIENTS")
    spec = Registry(tmp_path / "data" / "models").spec("trained")
    assert spec.intended_use.startswith("NEVER FOR PATIENTS")
    assert (spec.licence, len(spec.files), spec.research_only) == ("Apache-2.0", 2, True)
    plan = PhantomPlan(
        lesions=(parse_lesion("iph:45:left"),),
        seed=9,
        slice_thickness_mm=6,
        rows=224,
        columns=224,
        pixel_spacing_mm=1.05,
    )
    write_phantom(tmp_path / "new", plan)
    assert (
        run(
            ["process", str(tmp_path / "new" / "dicom"), "--out", str(tmp_path / "out"), "--model", "trained", "--json"]
        )
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["model"]["digest"]) == ("analysed", said["digest"])
    assert result["conclusion"] == "suspected"
    assert run(command) == 1  # the name is taken


def test_the_commit_is_the_one_that_trained(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one that lies there when the training is done, hours later."""
    commits = ["first"]
    monkeypatch.setattr(task, "running_commit", lambda: commits[-1])
    recipe = bench / "two-steps.toml"
    recipe.write_text(RECIPE.replace("steps = 36", "steps = 2"))
    gathered = gather(load_recipe(recipe), bench / "cache")
    outcome = task.train_model(
        load_recipe(recipe),
        gathered,
        Registry(tmp_path / "models"),
        tmp_path / "out",
        on_progress=lambda _: commits.append("later"),
    )
    assert len(commits) > 1
    assert outcome.manifest.commit == "first"


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        ("siamese-unet", "{filters = [4, 8, 8]}\nmirror_image = true\nhu_windows = [[0, 80], [-20, 200]]"),
        ("patchfcn", "{width = 4, blocks = [1, 1, 1, 1]}"),
    ],
)
def test_what_asks_more_of_training_serves_like_any_other(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], network: str, parameters: str
) -> None:
    """A network that compares the halves of a tilted head, and one that also says what slices hold, run as trained."""
    recipe = bench / f"{network}.toml"
    changed = RECIPE.replace("phantom-unet", network).replace("{channels = [8, 16, 24]}", parameters)
    recipe.write_text(changed.replace("steps = 36", "steps = 2").replace('"trained"', f'"{network}"'))
    assert run(["train", str(recipe), "--cache", str(bench / "cache"), "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    plan = PhantomPlan(
        lesions=(parse_lesion("iph:45:left"),),
        seed=9,
        tilt_deg=12,
        slice_thickness_mm=6,
        rows=224,
        columns=224,
        pixel_spacing_mm=1.05,
    )
    write_phantom(tmp_path / "new", plan)
    assert (
        run(["process", str(tmp_path / "new" / "dicom"), "--out", str(tmp_path / "out"), "--model", network, "--json"])
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["model"]["digest"]) == ("analysed", digest)


def test_killed_it_goes_on(bench: Path, tmp_path: Path) -> None:
    """A training that is killed with SIGKILL gives, run again, the curve and weights of one that was left alone."""
    recipe, cache = str(bench / "recipe.toml"), str(bench / "cache")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(["train", recipe, "--cache", cache, "--out", str(whole), "--name", "whole"]) == 0
    command = ["train", recipe, "--cache", cache, "--out", str(broken), "--name", "whole"]
    environ = os.environ | {"ICHOR_DATA_DIR": str(tmp_path / "other")}
    curve = broken / "seed-1" / CURVE
    with subprocess.Popen(
        [sys.executable, "-m", "console.cli", *command], env=environ, stderr=subprocess.DEVNULL
    ) as one:
        ends = time.monotonic() + 200
        while len(read_curve(curve)) < 14:
            assert one.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.02)
        one.send_signal(signal.SIGKILL)
    stopped = read_curve(curve)
    assert 14 <= len(stopped) < 36
    again = subprocess.run(
        [sys.executable, "-m", "console.cli", *command], env=environ, capture_output=True, check=False
    )
    assert again.returncode == 0, again.stderr.decode()
    assert b"training_resumed" in again.stderr
    assert read_curve(curve) == read_curve(whole / "seed-1" / CURVE)
    weights = [out / "entry" / "member_1.safetensors" for out in (whole, broken)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    (bench / "other.toml").write_text(RECIPE.replace("steps = 36", "steps = 37").replace('"trained"', '"longer"'))
    with pytest.raises(CheckpointUnfit):
        _train_directly(bench / "other.toml", bench / "cache", broken)


def _train_directly(recipe_file: Path, cache: Path, out: Path) -> None:
    from models.training.trainer import train

    recipe = load_recipe(recipe_file)
    train(recipe, 1, gather(recipe, cache).heads, out / "seed-1")


def test_labels_lie_on_the_blood(bench: Path) -> None:
    """On the model's grid, tilted or not, labels hold the truth's millilitres and lie where blood is; kept on disk."""
    data = read_data(bench / "phantoms")
    reading = Reading(
        spacing_zyx_mm=(6.0, 1.5, 1.5), label_map=FOUR_CLASS, channels={1: 1, 2: 2, 3: 3, 4: 4}, cache=bench / "kept"
    )
    found, faults = read_samples(data.cases[:2], reading)
    assert faults == ()
    for case, one in zip(data.cases[:2], found, strict=True):
        assert case.masks.mask is not None
        truth = read_mask(case.masks.mask)
        wanted_ml = float((truth.labels_ijk > 0).sum()) * truth.grid.voxel_ml
        marked = one.sample.labels_zyx > 0
        assert float(marked.sum()) * 6 * 1.5 * 1.5 / 1000 == pytest.approx(wanted_ml, rel=0.06)
        assert 45 < float(np.median(one.sample.hu_zyx[marked].astype(np.float32))) < 80
    made = {path: path.stat().st_mtime_ns for path in (bench / "kept").rglob("*.npy")}
    again, _ = read_samples(data.cases[:2], reading)
    assert {path: path.stat().st_mtime_ns for path in (bench / "kept").rglob("*.npy")} == made
    assert [one.sha256 for one in again] == [one.sha256 for one in found]
    assert len({one.sha256 for one in found}) == 2


def test_bad_scans_are_named(tmp_path: Path) -> None:
    """A missing mask, another shape, a value that nobody knows: named and left out; a sheared one is used, and said."""
    folder = tmp_path / "scans"
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.7
    for number in range(12):
        affine = sheared if number == 3 else AFFINE
        write_nifti(folder / "images" / f"p{number}.nii.gz", layouts.HU, affine)
        if number != 5:
            shape = (24, 20, 5) if number == 6 else (24, 20, 6)
            value = 7 if number == 7 else 1
            write_nifti(folder / "labels" / f"p{number}.nii.gz", labels((2, value), shape=shape), affine)
    recipe_file = tmp_path / "recipe.toml"
    recipe_file.write_text(
        'name = "x"\nlabels = ["ICH"]\n[[data]]\npath = "scans"\n[model]\nnetwork = "phantom-unet"\n'
        "spacing_zyx_mm = [5, 1, 1]\npatch = [4, 8, 8]\n"
    )
    gathered = gather(load_recipe(recipe_file), tmp_path / "cache")
    (record,) = gathered.records
    for name, why in (("p5", "no mask"), ("p6", "shape"), ("p7", "value 7")):
        assert any(name in text and why in text for text in record.faults), record.faults
        assert name not in (*record.training, *record.validation)
    assert len(record.faults) == 3
    assert any("tilted gantry" in note and "p3" in note for note in record.notes)
    assert "p3" in (*record.training, *record.validation)
    assert len(gathered.heads.training) + len(gathered.heads.validation) == 9


def test_folds_are_kept_apart(bench: Path) -> None:
    """The test fold is seen by nobody, and the data's hash knows who was where."""
    recipe_file = bench / "split.toml"
    recipe_file.write_text(RECIPE + "[split]\nvalidation_fold = 1\ntest_fold = 0\n")
    (record,) = gather(load_recipe(recipe_file), bench / "cache").records
    parts = [set(record.training), set(record.validation), set(record.left_out)]
    assert all(parts)
    assert len(set().union(*parts)) == sum(len(part) for part in parts) == len(LESIONS)
    recipe_file.write_text(RECIPE + "[split]\nvalidation_fold = 1\nlabel_fraction = 0.5\n")
    (fewer,) = gather(load_recipe(recipe_file), bench / "cache").records
    assert fewer.validation == record.validation
    assert len(fewer.training) == round((len(LESIONS) - len(fewer.validation)) / 2)
    other = gather(load_recipe(bench / "recipe.toml"), bench / "cache").records[0]
    assert other.sha256 != record.sha256
    assert other.split_sha256 == record.split_sha256


def test_overlaps_are_refused_unless_asked_for(tmp_path: Path) -> None:
    """Two sets of RSNA 2019's patients are not trained on together, unless the recipe says so: then it is written."""
    layouts.bhsd(tmp_path / "one")
    layouts.mbh_seg(tmp_path / "two")
    recipe = (
        'name = "x"\nlabels = ["EDH", "IPH", "IVH", "SAH", "SDH"]\nallow_overlaps = ALLOWED\n'
        '[[data]]\npath = "one"\n[[data]]\npath = "two"\n'
        '[model]\nnetwork = "phantom-unet"\nspacing_zyx_mm = [5, 1, 1]\npatch = [4, 8, 8]\n'
        "[split]\nvalidation_fold = 1\n"
    )
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.replace("ALLOWED", "false"))
    with pytest.raises(DataOverlap):
        gather(load_recipe(path), tmp_path / "cache")
    path.write_text(recipe.replace("ALLOWED", "true"))
    gathered = gather(load_recipe(path), tmp_path / "cache")
    assert any("share" in text or "come from" in text for text in gathered.warnings)
    assert gathered.licence.commercial is None


def test_a_mask_that_lies_elsewhere_is_named(bench: Path, tmp_path: Path) -> None:
    """A truth beside DICOM files that is another scan's is a fault, not a label."""
    (case,) = [one for one in read_data(bench / "phantoms").cases if one.name == "head-1"]
    assert case.masks.mask is not None
    truth = read_mask(case.masks.mask)
    moved = truth.grid.affine_ras.copy()
    moved[2, 3] += 30
    mask = write_nifti(tmp_path / "truth.nii.gz", (truth.labels_ijk > 0).astype(np.uint8), moved)
    broken = Case(name="head-1", patient="x", dicom=case.dicom, masks=type(case.masks)(mask=mask))
    reading = Reading(spacing_zyx_mm=(6.0, 3.0, 3.0), label_map=BINARY, channels={1: 1}, cache=tmp_path / "cache")
    found, faults = read_samples([broken], reading)
    assert found == ()
    assert "lies elsewhere" in faults[0].text
