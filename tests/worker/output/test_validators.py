"""Everything written is read again by other implementations: dicom3tools, dcmtk and dcmqi."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.peers.programs import missing, require
from worker.output.context import WriteContext
from worker.output.write import write_all

pytestmark = pytest.mark.integration

KINDS = ("tilted", "straight", "unmarked", "refused")


@pytest.fixture(scope="module")
def written(
    tilted: WriteContext,
    straight: WriteContext,
    unmarked: WriteContext,
    refused: WriteContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A folder of objects for each kind of result."""
    folders = {}
    for kind, ctx in zip(KINDS, (tilted, straight, unmarked, refused), strict=True):
        folders[kind] = tmp_path_factory.mktemp(kind)
        write_all(ctx, folders[kind])
    return folders


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _dcmqi(program: str) -> str:
    """Find a program of the dcmqi wheel, which lies beside the interpreter."""
    path = Path(sys.executable).parent / program
    if not path.is_file():
        missing(f"{program} of dcmqi is not installed")
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(written: dict[str, Path], kind: str) -> None:
    """Segmentation, reports and summary follow their IODs."""
    program = require("dciodvfy")
    for path in sorted(written[kind].glob("*.dcm")):
        output = _run(program, path)
        assert output
        assert [line for line in output.splitlines() if line.startswith("Error")] == [], path.name


@pytest.mark.parametrize("kind", KINDS)
def test_dcentvfy_finds_objects_and_sources_consistent(
    written: dict[str, Path], kind: str, request: pytest.FixtureRequest
) -> None:
    """Patient, study, series and frame of reference agree across the study."""
    program = require("dcentvfy")
    straight: WriteContext = request.getfixturevalue("tilted" if kind == "tilted" else "straight")
    assert straight.volume is not None
    sources = [part.path for part in straight.volume.slices]
    output = _run(program, *sorted(written[kind].glob("*.dcm")), *sources)
    assert [line for line in output.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("name", ["sr.dcm", "sr-record.dcm"])
@pytest.mark.parametrize("kind", ["tilted", "unmarked"])
def test_dcmtk_reads_the_reports(written: dict[str, Path], kind: str, name: str) -> None:
    """The whole tree is read without a fault, and its flags are as they should be."""
    output = _run(require("dsrdump"), "+Pl", written[kind] / name)
    assert "Preliminary Flag    : PRELIMINARY" in output
    assert "Verification Flag   : UNVERIFIED" in output
    assert "Research use only. Produced by an algorithm, not reviewed." in output
    assert not [line for line in output.splitlines() if line.startswith(("E:", "F:"))]


def test_dcmqi_reads_the_volumes_of_the_record(written: dict[str, Path], tilted: WriteContext, tmp_path: Path) -> None:
    """A second reader of TID 1500 finds each segment's volume and its segmentation."""
    out = tmp_path / "record.json"
    _run(_dcmqi("tid1500reader"), "--inputDICOM", written["tilted"] / "sr-record.dcm", "--outputMetadata", out)
    _, *groups = json.loads(out.read_text())["Measurements"]
    assert [int(group["ReferencedSegment"]) for group in groups] == [1, 2, 3, 4]
    volumes = [
        float(item["value"])
        for group in groups
        for item in group["measurementItems"]
        if item["quantity"]["CodeValue"] == "118565006"
    ]
    assert volumes == [round(found.volume_ml, 3) for found in tilted.findings]


def test_dcmqi_reads_the_segmentation(written: dict[str, Path], straight: WriteContext, tmp_path: Path) -> None:
    """On an even series a second reader of SEG finds the same volume, in the same place."""
    _run(
        _dcmqi("segimage2itkimage"),
        "--inputDICOM",
        written["straight"] / "seg.dcm",
        "--outputDirectory",
        tmp_path,
        "--outputType",
        "nii",
    )
    image = nibabel.load(tmp_path / "1.nii.gz")
    marked = np.argwhere(np.asarray(image.dataobj) > 0)  # type: ignore[attr-defined]
    (found,) = straight.findings
    volume_ml = len(marked) * abs(float(np.linalg.det(image.affine[:3, :3]))) / 1000  # type: ignore[attr-defined]
    assert volume_ml == pytest.approx(found.volume_ml, rel=0.005)
    ras_mm = image.affine[:3, :3] @ marked.mean(axis=0) + image.affine[:3, 3]  # type: ignore[attr-defined]
    assert np.allclose(ras_mm * (-1, -1, 1), (30.0, 0.0, 0.0), atol=1.5)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["segmentAttributes"][0][0]["SegmentLabel"] == "Intraparenchymal"
