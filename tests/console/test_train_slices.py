"""`ichor train` on labels of slices: from phantoms, or single images and a table, to a model that is run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import config

from console.benchmark.weak import measure_weak, recipe_for
from console.cli.entry import run
from console.training.slice_gathering import gather_slices
from console.training.slice_samples import SliceReading, read_slice_samples
from console.training.slice_task import train_maps
from models.evaluation.label_map import BINARY, FIVE_SUBTYPE
from models.evaluation.mask_file import read_mask
from models.evaluation.slices import slice_dice
from models.phantoms import PhantomPlan, parse_lesion, write_phantom
from models.registry import Registry
from models.training.data.catalogue import read_data
from models.training.slice_recipe import load_slice_recipe
from models.training.slice_sample import OUTPUTS
from tests.models.evaluation.mask_files import AFFINE, labels, write_nifti
from tests.models.training.data import layouts

LESIONS = ("iph:40:left", "sdh:40", "", "edh:40:left", "ivh:20", "iph:30:left+sah:10")

RECIPE = """
name = "weak"
[[data]]
path = "train"
[classifier]
spacing_zyx_mm = [8.0, 4.0, 4.0]
side = 48
network_parameters = {patch = 3, window = 4, features = 8, depths = [2, 2], heads = [2, 2]}
[training]
steps = 4
batch = 4
validate_every = 4
threads = 1
"""


def phantom(place: Path, lesions: str, seed: int, tilt_deg: float = 0.0) -> None:
    write_phantom(
        place,
        PhantomPlan(
            lesions=tuple(parse_lesion(text) for text in lesions.split("+") if text),
            seed=seed,
            tilt_deg=tilt_deg,
            slice_thickness_mm=8,
            rows=64,
            columns=64,
            pixel_spacing_mm=3.75,
        ),
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few coarse phantoms in the benchmark's parts, one tilted, and a recipe beside them."""
    folder = tmp_path_factory.mktemp("bench")
    for number, lesions in enumerate(LESIONS):
        phantom(folder / "train" / f"head-{number}", lesions, number + 1, tilt_deg=12 if number == 0 else 0)
    phantom(folder / "test" / "head-a", "iph:40:left", 50)
    phantom(folder / "test" / "head-b", "", 51)
    shutil.copytree(folder / "test", folder / "shifted")
    (folder / "weak.toml").write_text(RECIPE)
    return folder


def test_a_recipe_becomes_a_model(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command trains and registers; `ichor process` runs it; the manifest says who was seen and how."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ICHOR_MODELS_DIR", str(tmp_path / "models"))
    assert run(["train", str(bench / "weak.toml"), "--cache", str(bench / "cache")]) == 0
    entry = tmp_path / "models" / "weak"
    spec = Registry(tmp_path / "models").spec("weak")
    assert (spec.family, spec.parameters["map"], [label.name for label in spec.labels]) == (
        "slice-maps",
        "hgi-sam",
        ["ICH"],
    )
    manifest = json.loads((entry / "manifest.json").read_text())
    assert manifest["recipe"]["subtypes"] is False
    assert len(manifest["data"][0]["training"]) + len(manifest["data"][0]["validation"]) == len(LESIONS)
    assert "labels of slices" in (entry / "card.md").read_text()
    study = bench / "test" / "head-a" / "dicom"
    assert run(["process", str(study), "--out", str(tmp_path / "out"), "--model", "weak"]) in {0, 3}
    assert (tmp_path / "out" / "result.json").is_file()


def test_slices_are_labelled_as_the_mask_holds_blood(bench: Path) -> None:
    """Phantoms' subtypes by slice agree with the voxels of their truth, tilted or not."""
    for case in read_data(bench / "train").cases:
        assert case.masks.mask is not None
        blood = np.isin(read_mask(case.masks.mask).labels_ijk, (1, 2, 4)).any(axis=(0, 1))
        assert [bool(one.subtypes) for one in case.slices] == blood.tolist()
    last = read_data(bench / "train").cases[-1]
    assert last.subtypes == frozenset({"IPH", "SAH"})


def test_planes_get_the_shares_of_their_slices(bench: Path, tmp_path: Path) -> None:
    """A plane of the grid between two slices has both labels by their shares; subtypes have outputs of their own."""
    data = read_data(bench / "train")
    case = next(one for one in data.cases if one.name == "head-4")
    reading = SliceReading(spacing_zyx_mm=(4.0, 4.0, 4.0), label_map=data.label_map, cache=tmp_path)
    (found,), faults = read_slice_samples([case], reading)
    assert faults == ()
    targets = found.sample.targets_zo
    assert found.sample.knows_subtypes
    assert np.array_equal(targets[:, 0], targets[:, OUTPUTS.index("IVH")])
    assert (targets[:, OUTPUTS.index("IPH")] == 0).all()
    shown = sum(bool(one.subtypes) for one in case.slices)
    # twice as many planes as slices: half a slice on either side is shared with a neighbour that shows none
    assert float(targets[:, 0].sum()) == pytest.approx(2 * shown, abs=0.6)
    assert ((targets[:, 0] > 0.1) & (targets[:, 0] < 0.9)).any()
    assert found.sample.blood_zyx is not None
    assert (targets[np.asarray(found.sample.blood_zyx).any(axis=(1, 2)), 0] > 0).all()


def test_masks_label_slices_where_nobody_else_does(tmp_path: Path) -> None:
    """Five-subtype masks tell all outputs, plain ones only whether there is blood; without either a scan is named."""
    for name, value in (("five", 5), ("plain", 1)):
        write_nifti(tmp_path / name / "images" / "p1.nii.gz", layouts.HU, AFFINE)
        write_nifti(tmp_path / name / "labels" / "p1.nii.gz", labels((2, value)), AFFINE)
    for name, label_map, known in (("five", FIVE_SUBTYPE, True), ("plain", BINARY, False)):
        data = read_data(tmp_path / name, label_map=label_map)
        reading = SliceReading(spacing_zyx_mm=(5.0, 2.0, 2.0), label_map=label_map, cache=tmp_path / "cache")
        (found,), _ = read_slice_samples(data.cases, reading)
        assert found.sample.knows_subtypes is known
        assert float(found.sample.targets_zo[:, 0].max()) == 1
        if known:
            assert float(found.sample.targets_zo[:, OUTPUTS.index("SDH")].max()) == 1
    bare = replace(data.cases[0], masks=type(data.cases[0].masks)())
    found_none, (fault,) = read_slice_samples([bare], reading)
    assert found_none == ()
    assert "neither slice labels nor a mask" in fault.text


def rsna(bench: Path, folder: Path) -> Path:
    """Lay phantoms out as RSNA 2019 does: single images of any name, and a table of slices."""
    images = folder / "stage_2_train"
    images.mkdir(parents=True)
    names = {"epidural": "EDH", "intraparenchymal": "IPH", "intraventricular": "IVH"}
    names |= {"subarachnoid": "SAH", "subdural": "SDH"}
    rows = ["ID,Label"]
    for case in read_data(bench / "train").cases:
        for number, (path, shown) in enumerate(zip(case.dicom, case.slices, strict=True)):
            # phantoms number their files from foot to head; here the names say nothing of the order
            name = f"ID_{case.name[-1]}{(number * 7) % 31:02d}ff"
            dataset = pydicom.dcmread(path)
            with config.disable_value_validation():
                dataset.StudyInstanceUID, dataset.PatientID = f"ID_{case.name[-1]}aa", f"ID_{case.name[-1]}bb"
                dataset.save_as(images / f"{name}.dcm")
            rows += [f"{name}_{kind},{int(short in shown.subtypes)}" for kind, short in names.items()]
            rows.append(f"{name}_any,{int(bool(shown.subtypes))}")
    (folder / "stage_2_train.csv").write_text("\n".join(rows))
    return folder


def test_single_images_with_a_table_train_too(bench: Path, tmp_path: Path) -> None:
    """RSNA 2019's layout gives the same planes and labels; its threshold comes from another set, with masks."""
    rsna(bench, tmp_path / "rsna")
    (tmp_path / "weak.toml").write_text(
        RECIPE.replace('"train"', '"rsna"') + f'[[threshold_data]]\npath = "{bench / "train"}"\n'
    )
    gathered = gather_slices(load_slice_recipe(tmp_path / "weak.toml"), tmp_path / "cache")
    assert [fault for record in gathered.records for fault in record.faults] == []
    plain = gather_slices(load_slice_recipe(bench / "weak.toml"), tmp_path / "cache")
    own = {one.name[-1]: one for one in (*plain.heads.training, *plain.heads.validation)}
    table = (*gathered.heads.training, *gathered.heads.validation)
    assert len(table) == len(own)
    for one in table:
        np.testing.assert_allclose(one.targets_zo, own[one.name[3]].targets_zo, atol=1e-6)
        assert one.blood_zyx is None
    assert {one.name for one in gathered.heads.threshold} == {one.name for one in plain.heads.validation}
    assert gathered.licence.commercial is False
    (tmp_path / "weak.toml").write_text(RECIPE.replace('"train"', '"rsna"'))
    with pytest.raises(Exception, match="choose a threshold with"):
        gather_slices(load_slice_recipe(tmp_path / "weak.toml"), tmp_path / "cache")


def test_the_benchmark_scores_every_map(bench: Path, tmp_path: Path) -> None:
    """Two classifiers, three maps, two parts; run again, nothing is trained twice."""
    tiny = load_slice_recipe(bench / "weak.toml").classifier
    found = measure_weak(bench, tmp_path, steps=2, classifier=tiny)
    assert [(row.labels, row.map, row.part) for row in found.rows] == [
        (asked, kind, part)
        for asked in ("any", "any and five subtypes")
        for kind in ("hgi-sam", "swin-sam", "gradcam")
        for part in ("test", "shifted")
    ]
    assert all((row.heads, row.negatives) == (1, 1) for row in found.rows)
    checkpoints = {path: path.stat().st_mtime_ns for path in tmp_path.glob("weak-*/seed-1/checkpoint.pt")}
    assert len(checkpoints) == 2
    recipe = recipe_for(bench, subtypes=False, steps=2, seeds=(1,), classifier=tiny)
    train_maps(recipe, gather_slices(recipe, tmp_path / "cache"), tmp_path / recipe.name, ["gradcam"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("weak-*/seed-1/checkpoint.pt")} == checkpoints
    assert recipe_for(bench, subtypes=True, steps=2, seeds=(1,)).outputs == OUTPUTS


def test_slices_without_blood_do_not_count() -> None:
    """Two true slices: one half found, one missed; what is marked on a slice without blood has no say."""
    truth, answer = np.zeros((2, 2, 3), dtype=bool), np.zeros((2, 2, 3), dtype=bool)
    truth[0, :, 0] = truth[0, 0, 1] = True
    answer[0, 0, 0] = answer[1, 1, 2] = True
    assert slice_dice(answer, truth) == pytest.approx([2 / 3, 0])
