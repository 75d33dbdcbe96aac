"""A lesion of known place, size and density, painted into the slices of a real head.

The closest thing to a labelled real bleed that the tests may use: an ellipsoid in patient millimetres, 68 HU with
noise, set into every voxel whose centre lies inside. The truth is what was *sampled*: painted area times the slice's
own share of the distance along the plane normal, worked out here apart from the product's code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import generate_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """An ellipsoid in the axes of the image planes: along rows, along columns, along the normal."""

    centre_lps_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float] = (15.5, 17.0, 14.5)
    mean_hu: float = 68.0
    noise_hu: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintedSeries:
    """A painted copy of a series and its truth, keyed by SOP Instance UID."""

    paths: tuple[Path, ...]
    study_instance_uid: str
    series_instance_uid: str
    sampled_ml: float
    painted_ji: dict[str, npt.NDArray[np.bool_]]


def paint(
    source: Path,
    out: Path,
    lesion: Ellipsoid | None,
    *,
    seed: int = 1,
    attributes: dict[str, str] | None = None,
) -> PaintedSeries:
    """Copy the series in `source` to `out` under new UIDs, with `lesion` painted in and `attributes` set."""
    datasets = [pydicom.dcmread(path) for path in sorted(source.glob("*.dcm"))]
    cosines = np.array(datasets[0].ImageOrientationPatient, dtype=float)
    row, column = cosines[:3], cosines[3:]
    normal = np.cross(row, column)
    datasets.sort(key=lambda dataset: float(normal @ np.array(dataset.ImagePositionPatient, dtype=float)))
    offsets = [float(normal @ np.array(dataset.ImagePositionPatient, dtype=float)) for dataset in datasets]
    random = np.random.default_rng(seed)
    series_uid = generate_uid(entropy_srcs=[f"{seed}", str(out), "series"])
    study_uid = generate_uid(entropy_srcs=[f"{seed}", str(out), "study"])
    painted: dict[str, npt.NDArray[np.bool_]] = {}
    paths: list[Path] = []
    sampled_mm3 = 0.0
    out.mkdir(parents=True, exist_ok=True)
    for k, dataset in enumerate(datasets):
        below = offsets[k] - offsets[k - 1] if k > 0 else offsets[1] - offsets[0]
        above = offsets[k + 1] - offsets[k] if k + 1 < len(offsets) else offsets[-1] - offsets[-2]
        spacing = [float(value) for value in dataset.PixelSpacing]
        inside = _inside(dataset, lesion, row, column, normal) if lesion is not None else None
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[f"{seed}", str(out), f"{k}"])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series_uid, study_uid
        if lesion is not None and inside is not None:
            _fill(dataset, inside, lesion, random)
            painted[str(dataset.SOPInstanceUID)] = inside
            sampled_mm3 += float(inside.sum()) * spacing[0] * spacing[1] * (below + above) / 2
        for keyword, value in (attributes or {}).items():
            setattr(dataset, keyword, value)
        paths.append(out / f"{k:03d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return PaintedSeries(
        paths=tuple(paths),
        study_instance_uid=study_uid,
        series_instance_uid=series_uid,
        sampled_ml=sampled_mm3 / 1000,
        painted_ji=painted,
    )


def _inside(
    dataset: pydicom.Dataset,
    lesion: Ellipsoid,
    row: npt.NDArray[np.float64],
    column: npt.NDArray[np.float64],
    normal: npt.NDArray[np.float64],
) -> npt.NDArray[np.bool_]:
    """Return which voxel centres of one slice, (rows, columns), lie inside the ellipsoid."""
    origin = np.array(dataset.ImagePositionPatient, dtype=float) - np.array(lesion.centre_lps_mm)
    dy, dx = (float(value) for value in dataset.PixelSpacing)
    along_row = origin @ row + dx * np.arange(dataset.Columns)[None, :]
    along_column = origin @ column + dy * np.arange(dataset.Rows)[:, None]
    a, b, c = lesion.semi_axes_mm
    inside: npt.NDArray[np.bool_] = (along_row / a) ** 2 + (along_column / b) ** 2 + (origin @ normal / c) ** 2 <= 1
    return inside


def _fill(
    dataset: pydicom.Dataset, inside: npt.NDArray[np.bool_], lesion: Ellipsoid, random: np.random.Generator
) -> None:
    """Write the lesion's HU into the stored values of one slice."""
    stored = dataset.pixel_array.copy()
    hu = random.normal(lesion.mean_hu, lesion.noise_hu, int(inside.sum()))
    values = (hu - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope)
    stored[inside] = np.rint(values).astype(stored.dtype)
    dataset.PixelData = stored.tobytes()


LEFT_FRONTAL_GE = Ellipsoid(centre_lps_mm=(33.7, -0.9, 57.7))
"""About 15 mL in the white matter of the patient's left hemisphere of `ge-hispeed-tilt`, at slice 20 of 28."""
