"""Small synthetic CT: volumes in memory, series as DICOM files, and an analytic head to fill them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from worker.slices import Slice
from worker.stack import stack_slices
from worker.volume import Volume

Point = tuple[float, float, float]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Where a stack of slices lies: positions of the first pixel of each, directions, spacing (dy, dx), size."""

    positions: tuple[Point, ...]
    row: Point = (1.0, 0.0, 0.0)
    column: Point = (0.0, 1.0, 0.0)
    spacing: tuple[float, float] = (1.0, 1.0)
    size: tuple[int, int] = (32, 32)

    def points(self, k: int) -> Floats:
        """Give the patient position of every pixel centre of slice k, (rows, columns, 3)."""
        j, i = np.mgrid[: self.size[0], : self.size[1]]
        along_row = np.multiply.outer(i * self.spacing[1], np.array(self.row))
        along_column = np.multiply.outer(j * self.spacing[0], np.array(self.column))
        return np.asarray(np.array(self.positions[k]) + along_row + along_column, dtype=np.float64)

    def slices(self) -> tuple[Slice, ...]:
        """Give the slices as the header reader would."""
        return tuple(
            Slice(
                path=Path(f"{k:03}.dcm"),
                frame=None,
                sop_instance_uid=f"1.2.3.{k}",
                sop_class_uid=CTImageStorage,
                position_lps_mm=position,
                row_cosine=self.row,
                column_cosine=self.column,
                row_spacing_mm=self.spacing[0],
                column_spacing_mm=self.spacing[1],
                rescale_slope=1.0,
                rescale_intercept=0.0,
                rows=self.size[0],
                columns=self.size[1],
                acquired_at=None,
            )
            for k, position in enumerate(self.positions)
        )


def axial(
    offsets_mm: tuple[float, ...], *, spacing_mm: float = 1.0, size: int = 32, centre: Point = (0.0, 0.0, 0.0)
) -> Plane:
    """Make plain axial slices about a centre, at these z."""
    corner = -spacing_mm * (size - 1) / 2
    return Plane(
        positions=tuple((centre[0] + corner, centre[1] + corner, centre[2] + z) for z in offsets_mm),
        spacing=(spacing_mm, spacing_mm),
        size=(size, size),
    )


def volume_of(plane: Plane, hu_of_points: Any) -> Volume:
    """Fill a stack with HU given by a function of patient positions (…, 3), as if read from files."""
    stack = stack_slices(plane.slices())
    order = [int(one.path.stem) for one in stack.slices]
    hu = np.stack([np.rint(hu_of_points(plane.points(k))).astype(np.int16) for k in order])
    return Volume(
        hu_kji=hu,
        slices=stack.slices,
        row_cosine=stack.row_cosine,
        column_cosine=stack.column_cosine,
        normal=stack.normal,
        row_spacing_mm=plane.spacing[0],
        column_spacing_mm=plane.spacing[1],
        offsets_mm=stack.offsets_mm,
        shares_mm=stack.shares_mm,
        warnings=stack.warnings,
    )


def head_hu(
    points: Floats, *, centre: Point = (0.0, 0.0, 0.0), turn_deg: float = 0.0, inside_hu: float = 32.0
) -> Floats:
    """Give the HU of an egg-shaped head: scalp, 7 mm of skull, and inside it brain (or what `inside_hu` says)."""
    turn = np.radians(turn_deg)
    p = points - np.array(centre)
    x = p[..., 0] * np.cos(turn) + p[..., 1] * np.sin(turn)
    y = -p[..., 0] * np.sin(turn) + p[..., 1] * np.cos(turn)
    x = x * (1.0 + 0.002 * y)  # narrower in front, as heads are
    radius = np.sqrt((x / 68.0) ** 2 + (y / 86.0) ** 2 + (p[..., 2] / 72.0) ** 2)
    hu = np.full(radius.shape, -1000.0)
    hu[radius < 1.18] = 20.0
    hu[radius < 1.10] = 900.0
    hu[radius < 1.0] = inside_hu
    return hu


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A series before it is written: stored values as they stand in the file, and header elements to set."""

    plane: Plane
    stored_kji: npt.NDArray[Any]
    slope: float = 1.0
    intercept: float = 0.0
    series: str = "series"
    elements: dict[str, Any] = field(default_factory=dict)

    def dataset(self, k: int) -> Dataset:
        """Make one single-frame CT instance."""
        stored = self.stored_kji[k]
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        uid = generate_uid(entropy_srcs=[self.series, str(k)])
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
        ds.SeriesInstanceUID = generate_uid(entropy_srcs=[self.series])
        ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.PatientAge, ds.KVP, ds.ConvolutionKernel = "060Y", "120", "H31s"
        ds.SeriesDescription, ds.SeriesNumber, ds.SliceThickness = "Head", 2, "5"
        ds.ImagePositionPatient = [f"{value:.6f}" for value in self.plane.positions[k]]
        ds.ImageOrientationPatient = [f"{value:.9f}" for value in (*self.plane.row, *self.plane.column)]
        ds.PixelSpacing = list(self.plane.spacing)
        ds.RescaleSlope, ds.RescaleIntercept = self.slope, self.intercept
        ds.Rows, ds.Columns = stored.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        ds.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
        ds.PixelData = np.ascontiguousarray(stored).tobytes()
        for keyword, value in self.elements.items():
            setattr(ds, keyword, value)
        return ds

    def write(self, folder: Path) -> list[Path]:
        """Write all instances; give the files in slice order."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{k:03}.dcm" for k in range(len(self.plane.positions))]
        for k, path in enumerate(paths):
            self.dataset(k).save_as(path, enforce_file_format=True)
        return paths


def head_scan(
    *,
    heights_mm: tuple[float, ...] = tuple(np.arange(-80.0, 81.0, 5.0).tolist()),
    hu_of_points: Callable[[Floats], Floats] = head_hu,
    series: str = "series",
    elements: dict[str, Any] | None = None,
) -> Scan:
    """Make a head in 1.2 mm pixels, or what else a function says, with header elements to set."""
    plane = axial(heights_mm, spacing_mm=1.2, size=176)
    stored = np.stack([hu_of_points(plane.points(k)) for k in range(len(heights_mm))]).astype(np.int16)
    return Scan(plane=plane, stored_kji=stored, series=series, elements={} if elements is None else elements)
