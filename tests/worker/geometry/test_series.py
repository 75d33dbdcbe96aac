"""Files into series: every file ends as a slice or is named, whatever it holds."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import UID, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from tests.worker.geometry.scans import Scan, axial
from worker.series import read_studies
from worker.slices import acquired_at
from worker.volume import read_volume


def ramp(steps: int = 5) -> Scan:
    """Slices whose stored values tell their own number."""
    plane = axial(tuple(5.0 * n for n in range(steps)), size=16)
    stored = np.stack([np.full((16, 16), 100 + n, dtype=np.int16) for n in range(steps)])
    return Scan(plane=plane, stored_kji=stored)


def multi_frame(scan: Scan, sop_class_uid: UID) -> Dataset:
    """Put a scan into one multi-frame object, with geometry and rescale in its functional groups."""
    ds = scan.dataset(0)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(ds, keyword)
    del ds.RescaleIntercept
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class_uid
    ds.NumberOfFrames = len(scan.plane.positions)
    ds.PixelData = np.ascontiguousarray(scan.stored_kji).tobytes()
    measures, orientation, rescale, shared = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = list(scan.plane.spacing)
    orientation.ImageOrientationPatient = [*scan.plane.row, *scan.plane.column]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for n, place in enumerate(scan.plane.positions):
        position, rescale, content, frame = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = list(place)
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, -10 * n
        content.FrameAcquisitionDateTime = f"2026010203{n:02}00+0100"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [rescale]
        frame.FrameContentSequence = [content]
        ds.PerFrameFunctionalGroupsSequence.append(frame)
    return ds


def test_files_become_slices_in_patient_space(tmp_path: Path) -> None:
    """Position, directions, spacing and rescale stand in each slice as its header has them."""
    ramp().write(tmp_path)
    (study,) = read_studies([tmp_path])
    (series,) = study.series
    assert len(series.slices) == len(series.headers) == len(series.paths) == 5
    one = next(one for one in series.slices if one.path.name == "003.dcm")
    assert one.position_lps_mm == (-7.5, -7.5, 15.0)
    assert (one.row_cosine, one.column_cosine) == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    assert (one.rescale_slope, one.rescale_intercept, one.frame) == (1.0, 0.0, None)
    assert "PixelData" not in series.header


def test_order_of_arrival_changes_nothing(tmp_path: Path) -> None:
    """The same files give the same study in any order."""
    paths = ramp().write(tmp_path)
    expected = [one.path for one in read_studies(paths)[0].series[0].slices]
    for seed in range(3):
        random.Random(seed).shuffle(paths)
        assert [one.path for one in read_studies(paths)[0].series[0].slices] == expected


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    """Text, cut files, lost identifiers, objects without image and missing files each get their own code."""
    paths = ramp().write(tmp_path)
    (tmp_path / "a.txt").write_text("not DICOM at all")
    (tmp_path / "empty.dcm").write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    paths[2].write_bytes(paths[2].read_bytes()[:300])
    report = pydicom.dcmread(paths[3])
    del report.Rows
    report.save_as(paths[3])
    shutil.copy(paths[0], tmp_path / "copy.dcm")
    (study,) = read_studies([tmp_path, tmp_path / "nowhere.dcm"])
    codes = {one.path.name: one.code for one in study.unreadable}
    assert codes == {
        "a.txt": "not_dicom",
        "empty.dcm": "not_dicom",
        "001.dcm": "truncated",
        "002.dcm": "damaged",
        "003.dcm": "no_image",
        "copy.dcm": "copy",
        "nowhere.dcm": "missing",
    }
    assert [one.path.name for one in study.series[0].slices] != []
    assert {one.path.name for one in study.series[0].slices} == {"000.dcm", "004.dcm"}


def test_a_folder_without_dicom_is_a_study_without_series(tmp_path: Path) -> None:
    """Nothing usable is still reported, file by file."""
    (tmp_path / "notes.txt").write_text("hello")
    (study,) = read_studies([tmp_path])
    assert (study.study_instance_uid, study.series) == ("", ())
    assert [one.code for one in study.unreadable] == ["not_dicom"]
    assert read_studies([]) == ()


@pytest.mark.parametrize("sop_class_uid", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage])
def test_multi_frame_objects_give_one_slice_per_frame(tmp_path: Path, sop_class_uid: UID) -> None:
    """Shared and per-frame functional groups place every frame, with a rescale of its own."""
    multi_frame(ramp(), sop_class_uid).save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    (series,) = read_studies([tmp_path])[0].series
    assert [one.frame for one in series.slices] == [0, 1, 2, 3, 4]
    assert series.slices[2].acquired_at == datetime(2026, 1, 2, 2, 2, tzinfo=UTC)
    volume = read_volume(series)
    assert volume.offsets_mm.tolist() == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert volume.hu_kji[:, 0, 0].tolist() == [100, 91, 82, 73, 64]


def test_real_series_are_told_apart(test_data_dir: Path) -> None:
    """The GE and Philips folders give four series; the directory file is named as one."""
    studies = read_studies([test_data_dir])
    counts = sorted((len(series.slices), len(series.paths)) for study in studies for series in study.series)
    assert counts == [(1, 1), (3, 6), (28, 28), (28, 28)]
    assert {one.code for study in studies for one in study.unreadable} == {"not_dicom", "dicomdir"}


@pytest.mark.parametrize(
    ("elements", "at"),
    [
        ({"AcquisitionDateTime": "20260304"}, None),
        ({"AcquisitionDateTime": "20260304", "AcquisitionDate": "20260304", "AcquisitionTime": "2315"}, "23:15"),
        ({"AcquisitionDateTime": "2026030423", "AcquisitionDate": "20260304", "AcquisitionTime": "11"}, "23:00"),
        ({"AcquisitionDate": "20260304"}, None),
    ],
)
def test_a_date_without_the_hour_is_no_time(elements: dict[str, str], at: str | None) -> None:
    """Read as midnight it would make a scan of this evening too old to alert anybody."""
    header = Dataset()
    header.TimezoneOffsetFromUTC = "+0000"
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    found = acquired_at(header)
    assert (None if found is None else f"{found:%H:%M}") == at
