"""Results to write: a real or synthetic series, labels painted into it, and what was measured, stated by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from ichor.identity import ResultIdentity, derive_uid
from models.segmenter import Plan
from models.spec import ModelSpec
from worker.findings import Coverage, Finding, Measurement
from worker.output.attributes import StudyAttributes
from worker.output.context import WriteContext
from worker.reason import Reason
from worker.result import ResultModel, ResultSource, analysed
from worker.series import Series, read_studies
from worker.volume import Volume, read_volume

WRITTEN_AT = datetime(2026, 3, 4, 2, 20, tzinfo=timezone(timedelta(hours=1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a synthetic series is oriented: the directions of growing column and row index, and of the slices."""

    row_cosine: tuple[float, float, float] = (1.0, 0.0, 0.0)
    column_cosine: tuple[float, float, float] = (0.0, 1.0, 0.0)
    step_lps_mm: tuple[float, float, float] = (0.0, 0.0, 5.0)
    rows: int = 64
    columns: int = 64
    slices: int = 10
    spacing_mm: float = 3.5


def write_series(folder: Path, geometry: Geometry, attributes: dict[str, object] | None = None) -> tuple[Path, ...]:
    """Write a head of plain ellipsoids (skin, skull, brain) with its middle at the origin."""
    row, column, step = (np.array(part) for part in (geometry.row_cosine, geometry.column_cosine, geometry.step_lps_mm))
    i, j = np.meshgrid(np.arange(geometry.columns), np.arange(geometry.rows))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(geometry.slices):
        origin = (
            step * (k - (geometry.slices - 1) / 2)
            - row * geometry.spacing_mm * (geometry.columns - 1) / 2
            - column * geometry.spacing_mm * (geometry.rows - 1) / 2
        )
        points = origin + geometry.spacing_mm * (i[..., None] * row + j[..., None] * column)
        radius = np.sqrt(((points / (70.0, 90.0, 80.0)) ** 2).sum(axis=-1))
        hu = np.select([radius < 0.86, radius < 0.94, radius < 1.0], [35, 1000, 20], -1000)
        dataset = _ct(k, geometry, origin, hu.astype(np.int16))
        for keyword, value in (attributes or {}).items():
            setattr(dataset, keyword, value)
        paths.append(folder / f"{k:03d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return tuple(paths)


def _ct(k: int, geometry: Geometry, origin: npt.NDArray[np.float64], hu_ji: npt.NDArray[np.int16]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = derive_uid("test", "instance", str(geometry), str(k))
    dataset.SeriesInstanceUID = derive_uid("test", "series", str(geometry))
    dataset.StudyInstanceUID = derive_uid("test", "study", str(geometry))
    dataset.FrameOfReferenceUID = derive_uid("test", "frame", str(geometry))
    dataset.PositionReferenceIndicator = ""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = "Müller^Änne", "4711"
    dataset.PatientBirthDate, dataset.PatientSex = "19500101", "F"
    dataset.StudyDate, dataset.StudyTime = "20260304", "015500"
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "A1", "1", ""
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 3, k + 1
    dataset.Manufacturer, dataset.PatientPosition = "Test", "HFS"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImagePositionPatient = [float(f"{value:.4f}") for value in origin]
    dataset.ImageOrientationPatient = [*geometry.row_cosine, *geometry.column_cosine]
    dataset.PixelSpacing = [geometry.spacing_mm, geometry.spacing_mm]
    dataset.SliceThickness = 5.0
    dataset.Rows, dataset.Columns = hu_ji.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "HU"
    dataset.PixelData = hu_ji.tobytes()
    return dataset


def read_case(paths: tuple[Path, ...]) -> tuple[Series, Volume]:
    """Read the one series of these files."""
    (study,) = read_studies(paths)
    (series,) = study.series
    return series, read_volume(series)


def paint_ball(
    volume: Volume, labels_kji: npt.NDArray[np.uint8], index: int, centre_lps_mm: tuple[float, ...], radius_mm: float
) -> None:
    """Set a label into every voxel whose centre lies in a ball in patient coordinates."""
    i, j = np.meshgrid(np.arange(labels_kji.shape[2]), np.arange(labels_kji.shape[1]))
    row, column = np.array(volume.row_cosine), np.array(volume.column_cosine)
    for k, slice_ in enumerate(volume.slices):
        points = (
            np.array(slice_.position_lps_mm)
            + row * (i[..., None] * volume.column_spacing_mm)
            + column * (j[..., None] * volume.row_spacing_mm)
        )
        labels_kji[k][np.linalg.norm(points - np.array(centre_lps_mm), axis=-1) <= radius_mm] = index


def finding(volume: Volume, labels_kji: npt.NDArray[np.uint8], spec: ModelSpec, name: str, **stated: object) -> Finding:
    """State a finding plainly: volume by shares, the widest row and column of the key slice as axes."""
    label = spec.label(name)
    mask = labels_kji == label.index
    areas = mask.sum(axis=(1, 2))
    key = int(areas.argmax())
    j, i = np.nonzero(mask[key])
    middle_j, middle_i = float(j.mean()), float(i.mean())
    long_ji = ((middle_j, float(i.min())), (middle_j, float(i.max())))
    short_ji = ((float(j.min()), middle_i), (float(j.max()), middle_i))
    centre = volume.lps_of(key, middle_j, middle_i)
    volume_ml = sum(int(areas[k]) * volume.voxel_ml(k) for k in range(len(areas)))
    found = Finding(
        label=name,
        title=label.title,
        index=label.index,
        haemorrhage=label.haemorrhage,
        volume_ml=volume_ml,
        volume_range_ml=(volume_ml * 0.93, volume_ml * 1.08),
        laterality="left" if centre[0] > 0 else "right",
        touches_edge=False,
        components=1,
        long_axis_mm=float(np.ptp(i)) * volume.column_spacing_mm,
        short_axis_mm=float(np.ptp(j)) * volume.row_spacing_mm,
        abc2_ml=volume_ml * 1.05,
        median_hu=67.9,
        share_above_100_hu=0.0,
        bounding_box_lps_mm=(volume.lps_of(key, j.min(), i.min()), volume.lps_of(key, j.max(), i.max())),
        centroid_lps_mm=centre,
        key_slice=key,
        long_axis_lps_mm=(volume.lps_of(key, *long_ji[0]), volume.lps_of(key, *long_ji[1])),
        long_axis_ji=long_ji,
        short_axis_lps_mm=(volume.lps_of(key, *short_ji[0]), volume.lps_of(key, *short_ji[1])),
        short_axis_ji=short_ji,
    )
    return replace(found, **stated)  # type: ignore[arg-type]


def context(
    series: Series,
    volume: Volume,
    labels_kji: npt.NDArray[np.uint8],
    spec: ModelSpec,
    findings: tuple[Finding, ...],
    *,
    warnings: tuple[Reason, ...] = (),
) -> WriteContext:
    """Join everything into what the writers take."""
    measurement = Measurement(
        findings=findings,
        total_haemorrhage_ml=sum(found.volume_ml for found in findings if found.haemorrhage),
        coverage=Coverage(whole_head=True, lowest_mm=-20.0, highest_mm=140.0),
        warnings=warnings,
    )
    plan = Plan(
        model=spec.name, model_digest=spec.digest, members=spec.members, precision="float32", engine="deepmedic-1"
    )
    model = ResultModel(
        name=spec.name,
        version=spec.version,
        digest=spec.digest,
        members=len(spec.members),
        precision="float32",
        device="cpu",
    )
    number = series.header.get("SeriesNumber")
    source = ResultSource(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        series_number=None if number is None else int(number),
        source_instances=len(series.headers),
        slices=len(volume.slices),
    )
    return WriteContext(
        identity=identity(series),
        result=analysed(source, measurement, model, written_at=WRITTEN_AT),
        source=series.headers,
        written_at=WRITTEN_AT,
        volume=volume,
        labels_kji=labels_kji,
        spec=spec,
        plan=plan,
        measurement=measurement,
    )


def identity(series: Series) -> ResultIdentity:
    """Give the identity that the pipeline would."""
    return ResultIdentity(
        source_sop_instance_uids=tuple(str(header.SOPInstanceUID) for header in series.headers),
        attributes_digest=StudyAttributes.of(series.header).digest,
        model_digest="sha256:0",
        plan_digest="0",
        writer_version="1",
    )


def read(path: Path) -> Dataset:
    """Read a written object, refusing what is not a DICOM file."""
    return pydicom.dcmread(path)


def write_enhanced(path: Path, geometry: Geometry) -> Path:
    """Write the synthetic head as one Enhanced CT object with a functional group for each frame."""
    frames = [pydicom.dcmread(part) for part in write_series(path.parent / "frames", geometry)]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for element in frames[0]:
        if element.keyword not in {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "PixelData"}:
            dataset.add(element)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "SliceThickness"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = len(frames)
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=frames[0].ImageOrientationPatient)]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=frames[0].PixelSpacing, SliceThickness=5.0)]
    shared.PixelValueTransformationSequence = [_item(RescaleSlope=1, RescaleIntercept=0, RescaleType="HU")]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=frame.ImagePositionPatient)]) for frame in frames
    ]
    dataset.PixelData = b"".join(frame.PixelData for frame in frames)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
