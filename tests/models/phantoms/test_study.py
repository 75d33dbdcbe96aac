from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pydicom
import pytest

from models.phantoms import PhantomPlan, parse_lesion, write_phantom
from tests.peers.programs import require

if TYPE_CHECKING:
    from pathlib import Path

LESIONS = (parse_lesion("iph:15:left:oedema=10"), parse_lesion("sdh:12:right"))
SMALL = PhantomPlan(lesions=LESIONS, seed=6, rows=128, columns=120, pixel_spacing_mm=1.8, tilt_deg=15.0)


def _read(out: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted((out / "dicom").glob("*.dcm"))]


def test_truth_matches_the_images(tmp_path: Path) -> None:
    """NIfTI, JSON and DICOM tell one story: the same places (tilt included), volumes, sides and bright voxels."""
    truth = write_phantom(tmp_path, SMALL)
    datasets = _read(tmp_path)
    image = nib.load(tmp_path / "truth.nii.gz")
    labels = np.asarray(image.dataobj)  # type: ignore[attr-defined]
    assert labels.shape == (120, 128, truth.slices) == (120, 128, len(datasets))
    for i, j, k in ((0, 0, 0), (119, 5, 3), (60, 100, truth.slices - 1)):
        ras = (image.affine @ np.array([i, j, k, 1]))[:3]  # type: ignore[attr-defined]
        cosines = np.array(datasets[k].ImageOrientationPatient, dtype=float)
        lps = np.array(datasets[k].ImagePositionPatient, dtype=float) + 1.8 * (i * cosines[:3] + j * cosines[3:])
        assert ras == pytest.approx(lps * [-1, -1, 1], abs=1e-3)
    assert json.loads((tmp_path / "truth.json").read_text())["volumes_ml"] == truth.volumes_ml

    iph, sdh = truth.lesions
    assert (iph.label, iph.laterality, sdh.label, sdh.laterality) == ("IPH", "left", "EAH", "right")
    for lesion, value in ((iph, 1), (sdh, 2)):
        assert lesion.sampled_ml == pytest.approx(lesion.requested_ml, rel=0.03)
        counted = (labels == value).sum(axis=(0, 1)) @ np.array(truth.shares_mm) * 1.8**2 / 1000
        assert counted == pytest.approx(truth.volumes_ml[lesion.label], abs=1e-3)
        assert list(lesion.slices) == np.flatnonzero((labels == value).any(axis=(0, 1))).tolist()
    assert iph.oedema_sampled_ml == pytest.approx(truth.volumes_ml["oedema"], abs=1e-3)  # blood has its rim
    hu = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in datasets])
    assert 55 < np.median(hu.transpose(2, 1, 0)[labels == 1]) < 75
    assert iph.centroid_lps_mm is not None
    assert iph.centroid_lps_mm[0] > 10


def test_second_truth_tells_the_subtypes(tmp_path: Path) -> None:
    """`subtypes.nii.gz` holds the blood of `truth.nii.gz`, on its grid, by subtype and without oedema."""
    lesions = (parse_lesion("edh:9:left"), parse_lesion("sah:6:right"), parse_lesion("ivh:4"), *LESIONS)
    write_phantom(tmp_path, replace(SMALL, lesions=lesions))
    truth, subtypes = (nib.load(tmp_path / name) for name in ("truth.nii.gz", "subtypes.nii.gz"))
    assert np.array_equal(truth.affine, subtypes.affine)  # type: ignore[attr-defined]
    four, five = (np.asarray(image.dataobj) for image in (truth, subtypes))  # type: ignore[attr-defined]
    assert set(np.unique(five)) == {0, 1, 2, 3, 4, 5}
    for value, subtypes_of_it in ((1, [2]), (2, [1, 4, 5]), (4, [3])):
        assert np.array_equal(four == value, np.isin(five, subtypes_of_it))


def test_seed_decides_everything(tmp_path: Path) -> None:
    """The same plan gives the same bytes and UIDs; fresh UIDs change the UIDs and no pixel."""
    plan = PhantomPlan(rows=64, columns=64, pixel_spacing_mm=3.6, slice_thickness_mm=10)
    write_phantom(tmp_path / "a", plan)
    write_phantom(tmp_path / "b", plan)
    for first, second in zip(
        sorted((tmp_path / "a" / "dicom").iterdir()), sorted((tmp_path / "b" / "dicom").iterdir()), strict=True
    ):
        assert first.read_bytes() == second.read_bytes()
    fresh = PhantomPlan(
        rows=64, columns=64, pixel_spacing_mm=3.6, slice_thickness_mm=10, fresh_uids=True,
        acquired_at=datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC),
    )  # fmt: skip
    write_phantom(tmp_path / "c", fresh)
    old, new = _read(tmp_path / "a"), _read(tmp_path / "c")
    assert all(a.PixelData == b.PixelData for a, b in zip(old, new, strict=True))
    assert not {a.SOPInstanceUID for a in old} & {b.SOPInstanceUID for b in new}
    assert old[0].StudyInstanceUID != new[0].StudyInstanceUID
    assert new[0].AcquisitionDateTime == "20310203040506.000000+0000"


def test_reversed_order_numbers_from_the_head(tmp_path: Path) -> None:
    """Reversed order changes the numbering, and what is written where stays true."""
    plan = PhantomPlan(rows=32, columns=32, pixel_spacing_mm=7.0, slice_thickness_mm=20, reversed_order=True)
    write_phantom(tmp_path, plan)
    datasets = _read(tmp_path)
    assert [int(d.InstanceNumber) for d in datasets] == list(range(1, len(datasets) + 1))
    heights = [float(d.ImagePositionPatient[2]) for d in datasets]
    assert heights == sorted(heights, reverse=True)


def test_mirrored_storage_shows_the_same_head(tmp_path: Path) -> None:
    """With both in-plane axes turned round the stored image is the rotated one: the head itself does not move."""
    common = {"rows": 64, "columns": 64, "pixel_spacing_mm": 3.6, "slice_thickness_mm": 20, "noise_hu": 0.0}
    write_phantom(tmp_path / "a", PhantomPlan(**common))  # type: ignore[arg-type]
    write_phantom(tmp_path / "b", PhantomPlan(**common, row_sign=-1, column_sign=-1))  # type: ignore[arg-type]
    for a, b in zip(_read(tmp_path / "a"), _read(tmp_path / "b"), strict=True):
        # the stacks run the same way: row x column is the same normal
        assert np.abs(a.pixel_array.astype(int) - b.pixel_array[::-1, ::-1]).max() <= 1


def test_identity_is_plainly_a_phantom(tmp_path: Path) -> None:
    """Nobody can take the study for a patient's."""
    write_phantom(tmp_path, PhantomPlan(rows=32, columns=32, pixel_spacing_mm=7.0, slice_thickness_mm=20))
    dataset = _read(tmp_path)[0]
    assert str(dataset.PatientName) == "PHANTOM^ICHOR"
    assert dataset.PatientID.startswith("PHANTOM")
    assert "NO PATIENT" in dataset.StudyDescription
    assert (dataset.Modality, dataset.BodyPartExamined, dataset.KVP) == ("CT", "HEAD", 120)


def test_rewriting_leaves_no_stale_slices(tmp_path: Path) -> None:
    """A second run into the same folder replaces the study, also when it has fewer slices."""
    common = {"rows": 32, "columns": 32, "pixel_spacing_mm": 7.0}
    write_phantom(tmp_path, PhantomPlan(**common, slice_thickness_mm=10))  # type: ignore[arg-type]
    truth = write_phantom(tmp_path, PhantomPlan(**common, slice_thickness_mm=20))  # type: ignore[arg-type]
    assert len(_read(tmp_path)) == truth.slices


def test_table_lies_under_the_head(tmp_path: Path) -> None:
    """The head rest shows behind the head and nowhere in it."""
    common = {"rows": 128, "columns": 128, "pixel_spacing_mm": 1.8, "noise_hu": 0.0, "slices": 1, "lowest_mm": 10.0}
    write_phantom(tmp_path / "a", PhantomPlan(**common))  # type: ignore[arg-type]
    write_phantom(tmp_path / "b", PhantomPlan(**common, table=True))  # type: ignore[arg-type]
    without, with_table = (_read(tmp_path / name)[0].pixel_array.astype(int) for name in ("a", "b"))
    rows, _ = np.nonzero(with_table - without)
    assert len(rows) > 50
    assert rows.min() > 64 + 50 / 1.8


@pytest.mark.integration
def test_dciodvfy_finds_no_fault(tmp_path: Path) -> None:
    """The images are valid CT Image Storage for a second implementation."""
    verifier = require("dciodvfy")
    write_phantom(tmp_path, PhantomPlan(rows=32, columns=32, pixel_spacing_mm=7.0, slice_thickness_mm=20, tilt_deg=12))
    for path in (tmp_path / "dicom").iterdir():
        said = subprocess.run([verifier, str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr
        assert "Warning" not in said.stdout + said.stderr
