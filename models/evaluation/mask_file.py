"""Masks as files: NIfTI with whole numbers, and DICOM SEG placed on the grid of a NIfTI truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pydicom
from nibabel.filebasedimages import ImageFileError
from pydicom.errors import InvalidDicomError

from ichor.errors import PermanentError
from models.evaluation.grid import MaskGrid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    from pydicom import Dataset

_ON_GRID = 0.1  # voxels that a frame's corner may lie off the grid
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


class BadMask(PermanentError):
    """The mask is not usable."""

    code = "bad_mask"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMask:
    """Labels with axes (i, j, k), and where they lie."""

    labels_ijk: npt.NDArray[np.uint8]
    grid: MaskGrid


def read_mask(path: Path) -> LabelMask:
    """Read a NIfTI mask; raise BadMask where it is none, or holds other than whole numbers from 0 to 255."""
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except (OSError, ImageFileError, EOFError, ValueError) as error:
        raise BadMask(f"{path.name} cannot be read as NIfTI ({type(error).__name__}).") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise BadMask(f"{path.name} has {values.ndim} axes, not 3.")
    labels = values.astype(np.uint8, copy=False) if np.isfinite(values).all() else None
    if labels is None or not np.array_equal(labels, values):
        raise BadMask(f"{path.name} holds values that are no whole numbers from 0 to 255: not a mask.")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadMask(f"{path.name} has an affine that gives its voxels no volume.")
    return LabelMask(labels_ijk=labels, grid=MaskGrid(shape=labels.shape, affine_ras=affine))


def read_seg(path: Path, grid: MaskGrid, values: Mapping[str, int]) -> LabelMask:
    """Read a DICOM SEG onto a grid of the same slices; `values` gives a mask value to every segment label.

    Raises BadMask for another kind of object, an unknown segment, or frames that do not lie on the grid.
    """
    try:
        seg = pydicom.dcmread(path)
    except (OSError, InvalidDicomError) as error:
        raise BadMask(f"{path.name} cannot be read as DICOM.") from error
    if seg.get("Modality") != "SEG" or seg.get("SegmentationType") != "BINARY":
        raise BadMask(f"{path.name} is no binary DICOM SEG.")
    value_of = {int(one.SegmentNumber): _value(path, str(one.SegmentLabel), values) for one in seg.SegmentSequence}
    frames = np.atleast_3d(seg.pixel_array).reshape(-1, int(seg.Rows), int(seg.Columns))
    shared = seg.SharedFunctionalGroupsSequence[0]
    to_index = np.linalg.inv(grid.affine_ras)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        rows, columns = np.nonzero(frame)
        if not len(rows):
            continue
        index = np.rint(_indices(groups, shared, to_index, rows, columns, path)).astype(np.intp)
        if (index < 0).any() or (index >= np.array(grid.shape)).any():
            raise BadMask(f"{path.name} marks voxels outside the truth's grid.")
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        labels[tuple(index.T)] = value_of[number]
    return LabelMask(labels_ijk=labels, grid=grid)


def _value(path: Path, label: str, values: Mapping[str, int]) -> int:
    if label not in values:
        raise BadMask(f"{path.name} has a segment {label!r}, which is none of {', '.join(values)}.")
    return values[label]


def _indices(
    groups: Dataset,
    shared: Dataset,
    to_index: npt.NDArray[np.floating[Any]],
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    path: Path,
) -> npt.NDArray[np.float64]:
    """Return the grid indices, (n, 3), of a frame's marked pixels (PS3.3 C.7.6.16.2.3 and C.7.6.16.2.4)."""
    position = np.array(_group(groups, shared, "PlanePositionSequence").ImagePositionPatient, dtype=np.float64)
    cosines = np.array(
        _group(groups, shared, "PlaneOrientationSequence").ImageOrientationPatient, dtype=np.float64
    ).reshape(2, 3)
    row_mm, column_mm = (float(side) for side in _group(groups, shared, "PixelMeasuresSequence").PixelSpacing)
    places = position + np.outer(columns * column_mm, cosines[0]) + np.outer(rows * row_mm, cosines[1])
    index: npt.NDArray[np.float64] = (places * _LPS_TO_RAS) @ to_index[:3, :3].T + to_index[:3, 3]
    if np.abs(index - np.rint(index)).max() > _ON_GRID:
        raise BadMask(f"{path.name} does not lie on the truth's grid.")
    return index


def _group(groups: Dataset, shared: Dataset, keyword: str) -> Dataset:
    held = groups if keyword in groups else shared
    one: Dataset = held[keyword].value[0]
    return one
