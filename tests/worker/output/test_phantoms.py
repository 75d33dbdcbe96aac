"""Thirty phantoms of every kind, with their truth as the answer, before other implementations' eyes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from console.benchmark.marked import marked, phantom_labels, read_series
from models.phantoms import LesionRequest, PhantomPlan, PhantomTruth, write_phantom
from models.phantoms.lesions import LesionKind, Side
from models.spec import ModelSpec
from tests.peers.programs import missing, require
from tests.worker.output.cases import read
from tests.worker.output.test_rejection import replacing
from worker.output.context import WriteContext
from worker.output.write import write_all

pytestmark = pytest.mark.integration

KINDS: tuple[LesionKind, ...] = ("iph", "ivh", "sah", "sdh", "edh")
SMALL = {"rows": 128, "columns": 128, "pixel_spacing_mm": 1.8}


def _plans() -> Iterator[PhantomPlan]:
    """Every kind of lesion, side, tilt, sign, position and spacing; none marked as well."""
    for number in range(30):
        kind = KINDS[number % 5]
        side: Side | None = None if kind in {"ivh", "sah"} else ("left", "right")[number // 5 % 2]
        first = LesionRequest(kind=kind, volume_ml=4.0 + number, side=side, oedema_ml=8.0 if kind == "iph" else 0.0)
        second = LesionRequest(kind="sdh", volume_ml=8.0, side=("right", "left")[number // 5 % 2])
        lesions = () if number % 10 == 9 else (first, second) if number % 4 == 3 and kind != "sdh" else (first,)
        uneven = number % 6 == 4
        yield PhantomPlan(
            lesions=lesions,
            seed=100 + number,
            tilt_deg=(0.0, 0.0, 12.0, -18.0)[number % 4],
            gaps_mm=(*(4.0,) * 14, *(7.0,) * 13) if uneven else (),
            slice_thickness_mm=(5.0, 4.0, 6.0)[number % 3],
            row_sign=(1, -1)[number // 2 % 2],
            column_sign=(1, -1)[number // 3 % 2],
            reversed_order=number % 3 == 1,
            patient_position=("HFS", "HFP", "FFS", "FFP")[number % 4],
            **SMALL,  # type: ignore[arg-type]
        )


@dataclass(frozen=True, kw_only=True)
class Written:
    """One phantom, its truth and the objects of its result, and of one that replaces it."""

    plan: PhantomPlan
    truth: PhantomTruth
    context: WriteContext
    folder: Path

    @property
    def objects(self) -> list[Path]:
        """Every DICOM object that was written."""
        return sorted(self.folder.glob("result*/*.dcm"))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec) -> list[Written]:
    """All of them, written once; every third is replaced by another result."""
    written = []
    for number, plan in enumerate(_plans()):
        folder = tmp_path_factory.mktemp(f"phantom-{number}")
        truth = write_phantom(folder, plan)
        context = marked(*read_series([folder / "dicom"]), phantom_labels(folder), spec)
        objects = write_all(context, folder / "result")
        if number % 3 == 0:
            write_all(replacing(context, objects), folder / "result-2")
        written.append(Written(plan=plan, truth=truth, context=context, folder=folder))
    return written


def _errors(*command: str | Path) -> list[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def test_no_object_has_an_error(phantoms: list[Written]) -> None:
    """SEG, both reports, summary and rejection note of all of them follow their IODs."""
    program = require("dciodvfy")
    kinds = set()
    for phantom in phantoms:
        for path in phantom.objects:
            kinds.add(path.stem)
            assert _errors(program, path) == [], f"{phantom.folder.name}: {path.name}"
    assert kinds == {"seg", "sr", "sr-record", "summary", "rejection"}


def test_all_objects_of_a_study_are_consistent(phantoms: list[Written]) -> None:
    """Patient, study, series, equipment and frame of reference agree between slices and results."""
    program = require("dcentvfy")
    for phantom in phantoms:
        sources = sorted((phantom.folder / "dicom").glob("*.dcm"))
        assert _errors(program, *phantom.objects, *sources) == [], phantom.folder.name


def test_a_second_reader_finds_the_volumes(phantoms: list[Written], tmp_path: Path) -> None:
    """By dcmqi on even series: volumes within 0.5 %, and centres within half a millimetre of what was sampled."""
    program = Path(sys.executable).parent / "segimage2itkimage"
    if not program.is_file():
        missing("dcmqi is not installed")
    even = [one for one in phantoms if not one.plan.gaps_mm and one.plan.tilt_deg == 0 and one.context.findings]
    assert len(even) >= 10
    for phantom in even:
        out = tmp_path / phantom.folder.name
        out.mkdir()
        seg = phantom.folder / "result" / "seg.dcm"
        command = [program, "--inputDICOM", seg, "--outputDirectory", out, "--outputType", "nii"]
        subprocess.run([str(part) for part in command], capture_output=True, check=False)
        for number, found in enumerate(phantom.context.findings, start=1):
            image = nibabel.load(out / f"{number}.nii.gz")
            affine = np.asarray(image.affine)  # type: ignore[attr-defined]
            places = np.argwhere(np.asarray(image.dataobj) > 0)  # type: ignore[attr-defined]
            volume_ml = len(places) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000
            assert volume_ml == pytest.approx(found.volume_ml, rel=0.005), phantom.folder.name
            centre_lps_mm = (affine[:3, :3] @ places.mean(axis=0) + affine[:3, 3]) * (-1, -1, 1)
            assert np.allclose(centre_lps_mm, found.centroid_lps_mm, atol=0.5), phantom.folder.name


def test_the_record_is_read_by_a_second_reader(phantoms: list[Written], tmp_path: Path) -> None:
    """By dcmqi, also on tilted and uneven series: each segment's volume as measured."""
    program = Path(sys.executable).parent / "tid1500reader"
    if not program.is_file():
        missing("dcmqi is not installed")
    for phantom in phantoms[::4]:
        out = tmp_path / f"{phantom.folder.name}.json"
        record = phantom.folder / "result" / "sr-record.dcm"
        subprocess.run(
            [str(program), "--inputDICOM", str(record), "--outputMetadata", str(out)], capture_output=True, check=False
        )
        groups = [one for one in json.loads(out.read_text()).get("Measurements", []) if one.get("ReferencedSegment")]
        volumes = [
            float(item["value"])
            for group in groups
            for item in group["measurementItems"]
            if item["quantity"]["CodeValue"] == "118565006"
        ]
        assert volumes == [round(found.volume_ml, 3) for found in phantom.context.findings], phantom.folder.name


def test_centres_lie_where_the_truth_lies(phantoms: list[Written]) -> None:
    """On every series, tilted and uneven too: the frames of the SEG, placed by their own headers, against the truth."""
    compared = 0
    for phantom in phantoms:
        labels = {lesion.label for lesion in phantom.truth.lesions}
        if len(phantom.truth.lesions) != 1 or len(labels) != 1:
            continue
        (lesion,) = phantom.truth.lesions
        dataset = read(phantom.folder / "result" / "seg.dcm")
        shares = dict(zip(_heights(phantom.truth.positions_lps_mm), phantom.truth.shares_mm, strict=True))
        number = next(n for n, found in enumerate(phantom.context.findings, start=1) if found.label == lesion.label)
        points, weights = [], []
        (orientation,) = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        row, column = np.split(np.array(orientation.ImageOrientationPatient, dtype=float), 2)
        dy, dx = map(float, measures.PixelSpacing)
        for frame, group in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
            shared = dataset.SharedFunctionalGroupsSequence[0]
            (segment,) = (group if "SegmentIdentificationSequence" in group else shared).SegmentIdentificationSequence
            if segment.ReferencedSegmentNumber != number:
                continue
            position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            j, i = np.nonzero(frame)
            points.append(position + np.outer(i * dx, row) + np.outer(j * dy, column))
            weights.append(np.full(len(j), shares[round(float(position[2]), 2)]))
        centre = np.average(np.concatenate(points), axis=0, weights=np.concatenate(weights))
        assert lesion.centroid_lps_mm is not None
        assert np.linalg.norm(centre - lesion.centroid_lps_mm) < 0.5, phantom.folder.name
        compared += 1
    assert compared >= 15


def _heights(positions: tuple[tuple[float, float, float], ...]) -> list[float]:
    return [round(position[2], 2) for position in positions]


def test_left_is_left_everywhere(phantoms: list[Written]) -> None:
    """Whatever signs, tilt and patient position: the truth's side in code, in words, in the SEG and in the summary."""
    sides = {"left": "7771000", "right": "24028007"}
    seen = set()
    for phantom in phantoms:
        if len(phantom.truth.lesions) != 1 or phantom.truth.lesions[0].laterality == "bilateral":
            continue
        (lesion,) = phantom.truth.lesions
        side = lesion.laterality
        if lesion.kind in {"ivh", "sah"}:
            continue  # grow where the seed lets them; near the midline the side is a matter of degree
        finding = next(found for found in phantom.context.result.findings if found.label == lesion.label)
        segment = next(
            item
            for item in read(phantom.folder / "result" / "seg.dcm").SegmentSequence
            if item.TrackingID == f"Ichor {lesion.label}"
        )
        (modifier,) = segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence
        summary = read(phantom.folder / "result" / "summary.dcm")
        report = read(phantom.folder / "result" / "sr-record.dcm")
        assert finding.laterality == side
        assert modifier.CodeValue == sides[side]
        assert side in summary.ImageComments.split(".")[1].lower()
        assert any(side in item.TextValue.lower() for item in report.ContentSequence if item.ValueType == "TEXT")
        seen.add((side, phantom.plan.patient_position))
    assert len(seen) >= 6
