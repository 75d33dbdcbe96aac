"""Mask files of evaluation tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

AFFINE = np.diag([0.5, 0.5, 5.0, 1.0])


def write_nifti(path: Path, values: npt.NDArray[np.generic], affine: npt.NDArray[np.float64] = AFFINE) -> Path:
    """Write an array as NIfTI, folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)  # type: ignore[no-untyped-call]
    return path


def labels(*boxes: tuple[int, int], shape: tuple[int, int, int] = (24, 20, 6)) -> npt.NDArray[np.uint8]:
    """Return labels: for each (first column, label) a box of 4 x 10 x 4 voxels from there."""
    found = np.zeros(shape, dtype=np.uint8)
    for first, label in boxes:
        found[first : first + 4, 5:15, 1:5] = label
    return found
