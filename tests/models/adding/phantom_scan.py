"""A small phantom scan whose slices lie on the grid of the test models, so that resampling changes nothing.

The voxels are kept in `nnunet/scan.npz` beside the labels that nnU-Net gave for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from models.phantoms import LesionRequest, PhantomPlan, write_phantom
from models.phantoms.ct import ct_image, study_uids
from models.phantoms.scan import lay_slices
from worker.series import read_studies
from worker.volume import read_volume

KEPT = Path(__file__).parent / "nnunet" / "scan.npz"
SPACING_ZYX_MM = (6.0, 1.2, 1.2)
HU_STEP = 4  # coarse values keep the file small
PLAN = PhantomPlan(
    lesions=(
        LesionRequest(kind="iph", volume_ml=30.0, side="left"),
        LesionRequest(kind="sdh", volume_ml=30.0, side="right"),
    ),
    seed=3,
    slice_thickness_mm=SPACING_ZYX_MM[0],
    rows=176,
    columns=176,
    pixel_spacing_mm=SPACING_ZYX_MM[1],
    noise_hu=0.0,
)

Hu = npt.NDArray[np.int16]
Labels = npt.NDArray[np.uint8]


def make_scan(folder: Path) -> tuple[Hu, Labels]:
    """Make the phantom below `folder`; return its HU, coarsened, and its true labels, (z, y, x)."""
    write_phantom(folder, PLAN)
    (study,) = read_studies([folder / "dicom"])
    hu = read_volume(study.series[0]).hu_kji.astype(np.int16)
    stored: Any = nibabel.load(folder / "truth.nii.gz")
    image = nibabel.as_closest_canonical(stored)  # type: ignore[no-untyped-call]  # R, A, S
    truth = np.asarray(image.dataobj).astype(np.uint8)[::-1, ::-1, :].transpose(2, 1, 0)
    return (hu // HU_STEP * HU_STEP).astype(np.int16), np.ascontiguousarray(truth)


def kept_scan() -> tuple[Hu, Labels]:
    """Return the kept scan and its true labels, (z, y, x)."""
    with np.load(KEPT) as archive:
        return archive["hu_zyx"], archive["truth_zyx"]


def write_scan(folder: Path) -> Path:
    """Write the kept scan as DICOM; return its folder."""
    hu_zyx, _ = kept_scan()
    scan, uids = lay_slices(PLAN), study_uids(PLAN)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(scan.slices):
        number, dataset = ct_image(PLAN, scan, uids, k, hu_zyx[k].astype(np.float32))
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return folder
