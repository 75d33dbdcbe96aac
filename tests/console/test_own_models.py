"""A department's own model, of every family: added, run by `ichor process`, and equal to the library that made it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from highdicom.seg import segread

from console.cli.entry import run
from models.registry import Registry
from models.segmenter import HeadGrid
from tests.models.adding.families import (
    FIVE,
    Trained,
    bundle_answer,
    exported_answer,
    train_once,
    write_bundle,
    write_exported,
)
from tests.models.adding.phantom_scan import kept_scan, write_scan
from tests.models.adding.untrained import entry

NNUNET = Path(__file__).resolve().parents[1] / "models" / "adding" / "nnunet"

Labels = npt.NDArray[np.uint8]
Process = Callable[[str], Labels]


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A small MONAI network, trained for seconds on the phantom."""
    return train_once()


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom as DICOM."""
    return write_scan(tmp_path_factory.mktemp("scan") / "dicom")


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's folder of its own."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def process(scan: Path, tmp_path: Path) -> Process:
    """Run `ichor process --model NAME` on the phantom; return the labels in the SEG, (z, y, x), as channels."""

    def labels_of(name: str) -> Labels:
        out = tmp_path / "out"
        assert run(["process", str(scan), "--out", str(out), "--model", name]) == 0
        result = json.loads((out / "result.json").read_text())
        assert result["conclusion"] == "suspected"
        assert result["model"]["name"] == name
        return _read(out / "seg.dcm", scan)

    return labels_of


def _read(seg: Path, scan: Path) -> Labels:
    segmentation = segread(seg)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in scan.glob("*.dcm")]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    pixels = segmentation.get_pixels_by_source_instance(
        [header.SOPInstanceUID for header in headers], assert_missing_frames_are_empty=True
    )
    channels = {"Intraparenchymal": 1, "Extra-axial, type not determined": 2, "Subdural": 2}
    labels = np.zeros(pixels.shape[:3], dtype=np.uint8)
    for number in segmentation.segment_numbers:
        title = str(segmentation.get_segment_description(number).SegmentLabel)
        labels[pixels[..., number - 1] > 0] = channels[title]
    return labels


def _same(found: Labels, expected: Labels) -> None:
    """There is something to compare, and every voxel is equal."""
    assert (expected > 0).sum() > 1000
    assert int((found != expected).sum()) == 0


def test_a_monai_bundle(trained: Trained, tmp_path: Path, process: Process) -> None:
    """MONAI's own transforms, network and inferer, as the bundle configures them, give the same labels."""
    bundle = write_bundle(tmp_path / "head-bundle", trained)
    assert run(["models", "add", str(bundle)]) == 0
    _same(process("head-bundle"), bundle_answer(bundle))


def test_a_zipped_bundle_under_another_name(trained: Trained, tmp_path: Path, process: Process) -> None:
    """A zip is as good as a folder; a removed model is gone, a second of the same name refused."""
    bundle = write_bundle(tmp_path / "head-bundle", trained)
    archive = shutil.make_archive(str(tmp_path / "any"), "zip", tmp_path, "head-bundle")
    assert run(["models", "add", archive, "--name", "mine"]) == 0
    assert run(["models", "add", archive, "--name", "mine"]) == 1
    _same(process("mine"), bundle_answer(bundle))
    assert run(["models", "remove", "mine"]) == 0
    assert run(["models", "show", "mine"]) == 1
    assert run(["models", "remove", "blast-ct-v1"]) == 1


@pytest.mark.parametrize("case", ["plain", "residual"])
def test_an_nnunet_folder(case: str, process: Process) -> None:
    """nnU-Net 2.8.1 gave the kept labels: two folds with mirroring, and a residual encoder with its axes turned."""
    assert run(["models", "add", str(NNUNET / case), "--name", case]) == 0
    with np.load(NNUNET / case / "labels.npz") as archive:
        _same(process(case), archive["labels_zyx"])


def test_an_exported_program(trained: Trained, tmp_path: Path, process: Process, data_dir: Path) -> None:
    """A .pt2 runs once somebody has vouched for it, which is recorded with its hash; torch gives the same labels."""
    folder = write_exported(tmp_path / "program", trained)
    assert run(["models", "add", str(folder)]) == 1
    assert run(["models", "add", str(folder), "--trust-code"]) == 0
    _same(process("program"), exported_answer(folder))
    spec = json.loads((data_dir / "models" / "program" / "model.json").read_text())
    trust = json.loads((data_dir / "models" / "program" / "trust.json").read_text())
    assert trust["sha256"] == [spec["files"][0]["sha256"]]


def test_a_model_folder_of_our_own(trained: Trained, tmp_path: Path, process: Process, data_dir: Path) -> None:
    """What `models add` has written can be handed on: a folder with model.json and safetensors is taken as it is."""
    assert run(["models", "add", str(write_bundle(tmp_path / "head-bundle", trained))]) == 0
    expected = process("head-bundle")
    shutil.move(data_dir / "models" / "head-bundle", tmp_path / "handed-on")
    assert run(["models", "add", str(tmp_path / "handed-on")]) == 0
    _same(process("head-bundle"), expected)


def test_five_subtypes(trained: Trained, tmp_path: Path, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of IPH, SDH, EDH, SAH and IVH: all count as haemorrhage, each under its own name and code."""
    bundle = write_bundle(tmp_path / "five", trained, labels=FIVE)
    assert run(["models", "add", str(bundle)]) == 0
    out = tmp_path / "out"
    assert run(["process", str(scan), "--out", str(out), "--model", "five"]) == 0
    result = json.loads((out / "result.json").read_text())
    found = {finding["label"]: finding for finding in result["findings"]}
    assert set(found) == {"IPH", "SDH"}
    assert result["total_haemorrhage_ml"] == pytest.approx(sum(one["volume_ml"] for one in found.values()), abs=0.01)
    said = " ".join(capsys.readouterr().out.split())
    assert "SUSPECTED intracranial haemorrhage" in said
    assert "subdural" in said.lower()
    codes = {
        str(part.SegmentLabel): str(part.SegmentedPropertyTypeCodeSequence[0].CodeValue)
        for part in segread(out / "seg.dcm").SegmentSequence
    }
    assert codes == {"Intraparenchymal": "50960005", "Subdural": "50960005"}


def test_the_kept_scan_has_both_bleeds() -> None:
    """What the tests stand on: labels of 1 and 2 in the phantom."""
    _, truth = kept_scan()
    assert set(np.unique(truth)) == {0, 1, 2}


def test_a_model_goes_out_and_comes_back(tmp_path: Path, data_dir: Path) -> None:
    """A model, written as a MONAI bundle and added again, marks the same; a folder is not written twice."""
    bundle = tmp_path / "bundle"
    own = entry(Registry(data_dir / "models"), "phantom-unet", {"channels": [4, 6, 8]}, [8, 32, 32]).name
    assert run(["models", "export", own, str(bundle)]) == 0
    assert run(["models", "add", str(bundle), "--name", "came-back"]) == 0
    assert run(["models", "export", "came-back", str(tmp_path / "second")]) == 0
    assert run(["models", "export", own, str(bundle)]) == 1
    registry = Registry(data_dir / "models")
    hu_zyx = kept_scan()[0][6:22, 24:152, 24:152].astype(np.float32)
    grid = HeadGrid(
        hu_zyx=hu_zyx,
        spacing_zyx_mm=registry.spec("came-back").spacing_zyx_mm,
        scanned_zyx=np.ones(hu_zyx.shape, dtype=np.bool_),
    )
    expected, found = (
        registry.load(name, device="cpu", precision="float32", threads=1)
        .segment(grid)
        .probabilities_czyx.argmax(axis=0)
        for name in (own, "came-back")
    )
    assert (expected > 0).sum() > 1000
    assert int((found != expected).sum()) <= 3  # kernels between zeros are summed in another order
