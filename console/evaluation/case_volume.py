"""A data set's scan as the node's own volume, and labels on it back as NIfTI where the scan lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from pydicom import config

from ichor.errors import NotAnalysable
from models.evaluation.grid import SlicePlaces
from worker.series import read_studies
from worker.slices import Slice
from worker.stack import stack_slices
from worker.volume import Volume, read_volume

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from models.training.data.case import Case

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_EVEN = 1.01  # headers are rounded
_LOWEST_HU, _HIGHEST_HU = -1024, 32767


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseVolume:
    """A volume, and how its slices k lie in the scan's own array (i, j, k)."""

    volume: Volume
    order: npt.NDArray[np.intp]  # the scan's k of every slice of the volume
    affine_ras: npt.NDArray[np.float64]

    @classmethod
    def of(cls, volume: Volume) -> CaseVolume:
        """Take a volume of DICOM slices as it is; the affine holds the mean distance of its slices."""
        first, last = (np.array(volume.slices[k].position_lps_mm) for k in (0, -1))
        affine = np.eye(4)
        affine[:3, 0] = np.array(volume.row_cosine) * volume.column_spacing_mm
        affine[:3, 1] = np.array(volume.column_cosine) * volume.row_spacing_mm
        affine[:3, 2] = (last - first) / (len(volume.slices) - 1)
        affine[:3, 3] = first
        return cls(volume=volume, order=np.arange(len(volume.slices)), affine_ras=_RAS_TO_LPS @ affine)

    @property
    def uneven(self) -> SlicePlaces | None:
        """Where the scan's slices lie, if their distances differ, which its affine cannot say."""
        gaps_mm = np.diff(self.volume.offsets_mm)
        if float(gaps_mm.max()) <= _EVEN * float(gaps_mm.min()):
            return None
        places = np.array([one.position_lps_mm for one in self.volume.slices]) @ _RAS_TO_LPS[:3, :3]
        own = np.argsort(self.order)
        return SlicePlaces(first_ras_mm=places[own], shares_mm=self.volume.shares_mm[own])

    def write_labels(self, path: Path, labels_kji: npt.NDArray[np.uint8]) -> None:
        """Write labels of the volume as NIfTI on the scan's own grid."""
        own = np.zeros_like(labels_kji)
        own[self.order] = labels_kji
        image = nib.Nifti1Image(np.ascontiguousarray(own.transpose(2, 1, 0)), self.affine_ras)  # type: ignore[no-untyped-call]
        nib.save(image, path)


def volume_of(case: Case) -> CaseVolume:
    """Read a case's scan; raise NotAnalysable where it forms no volume."""
    return _from_nifti(case.image) if case.image is not None else _from_dicom(case)


def _from_nifti(path: Path) -> CaseVolume:
    image: Any = nib.load(path)
    values = np.asanyarray(image.dataobj)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or not np.isfinite(values).all():
        raise NotAnalysable("no_volume", f"{path.name} is no volume of finite HU.")
    affine = np.asarray(image.affine, dtype=np.float64)
    lps = _RAS_TO_LPS @ affine
    column_mm, row_mm = (float(np.linalg.norm(lps[:3, axis])) for axis in (0, 1))
    row, column = lps[:3, 0] / column_mm, lps[:3, 1] / row_mm
    stack = stack_slices(
        [
            Slice(
                path=path,
                frame=k,
                sop_instance_uid=f"2.25.{k + 1}",
                sop_class_uid="",
                position_lps_mm=_triple(lps[:3, 3] + k * lps[:3, 2]),
                row_cosine=_triple(row),
                column_cosine=_triple(column),
                row_spacing_mm=row_mm,
                column_spacing_mm=column_mm,
                rescale_slope=1.0,
                rescale_intercept=0.0,
                rows=values.shape[1],
                columns=values.shape[0],
                acquired_at=None,
            )
            for k in range(values.shape[2])
        ]
    )
    order = np.array([one.frame for one in stack.slices], dtype=np.intp)
    hu_kji = np.clip(np.rint(values), _LOWEST_HU, _HIGHEST_HU).astype(np.int16).transpose(2, 1, 0)[order]
    volume = Volume(
        hu_kji=np.ascontiguousarray(hu_kji),
        slices=stack.slices,
        row_cosine=stack.row_cosine,
        column_cosine=stack.column_cosine,
        normal=stack.normal,
        row_spacing_mm=row_mm,
        column_spacing_mm=column_mm,
        offsets_mm=stack.offsets_mm,
        shares_mm=stack.shares_mm,
        warnings=stack.warnings,
    )
    return CaseVolume(volume=volume, order=order, affine_ras=affine)


def _from_dicom(case: Case) -> CaseVolume:
    with config.disable_value_validation():  # RSNA 2019's UIDs are of the form ID_hex, which no UID has
        series = [one for study in read_studies(case.dicom) for one in study.series]
        if len(series) != 1:
            raise NotAnalysable("several_series", f"{case.name} holds {len(series)} readable series, not one.")
        volume = read_volume(series[0])
    return CaseVolume.of(volume)


def _triple(values: npt.NDArray[np.floating[Any]]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
