"""A phantom study on disk: `dicom/NNNN.dcm`, `truth.nii.gz`, the same by subtype in `subtypes.nii.gz`, `truth.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.phantoms.ct import ct_image, study_uids
from models.phantoms.head import head_lattice, make_head
from models.phantoms.scan import Sampler, hu_slice, lay_slices, noise
from models.phantoms.skull import AIR_HU
from models.phantoms.truth import PhantomTruth, label_slices, write_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from models.phantoms.lattice import Lattice
    from models.phantoms.plan import PhantomPlan
    from models.phantoms.scan import Scan

DICOM_FOLDER, LABELS_FILE, SUBTYPES_FILE, TRUTH_FILE = "dicom", "truth.nii.gz", "subtypes.nii.gz", "truth.json"

_FINE_MM, _COARSE_MM = 1.0, 2.0
_COARSE_PIXEL_MM = 1.5  # pixels from here on cannot show what the fine lattice holds
_REST_RADIUS_MM, _REST_HALF_MM, _REST_HU = 107.5, 1.5, -550.0


def write_phantom(out: Path, plan: PhantomPlan, *, on_progress: Callable[[float], None] | None = None) -> PhantomTruth:
    """Write the study below `out`, replacing what an earlier run wrote there; return its truth.

    Raises PhantomInvalid where the lesions do not fit into the head.
    """
    scan = lay_slices(plan)
    fine_mm = _FINE_MM if plan.pixel_spacing_mm < _COARSE_PIXEL_MM else _COARSE_MM
    lattice = head_lattice(spacing_zyx_mm=(fine_mm, fine_mm, fine_mm), lowest_mm=_lowest_mm(scan))
    head = make_head(lattice, plan.seed, plan.lesions, plan.shift)
    if plan.table:
        _add_head_rest(head.hu_zyx, head.lattice)
    sampler = Sampler(head.lattice, scan)
    uids = study_uids(plan)
    folder = out / DICOM_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.dcm"):
        stale.unlink()
    for k in range(scan.slices):
        hu = hu_slice(sampler, head.hu_zyx, k)
        hu += noise(
            scan,
            k,
            seed=plan.seed,
            standard_deviation_hu=plan.noise_hu,
            cycles_per_mm=plan.shift.kernel_cycles_per_mm,
        )
        number, dataset = ct_image(plan, scan, uids, k, hu)
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
        if on_progress is not None:
            on_progress((k + 1) / scan.slices)
    labelled = label_slices(head, scan, sampler)
    truth = PhantomTruth(
        study_instance_uid=uids.study,
        series_instance_uid=uids.series,
        slices=scan.slices,
        seed=plan.seed,
        tilt_deg=plan.tilt_deg,
        lesions=labelled.lesions,
        volumes_ml=labelled.volumes_ml,
        positions_lps_mm=tuple(scan.position_lps_mm(k) for k in range(scan.slices)),
        shares_mm=scan.shares_mm,
    )
    write_labels(out / LABELS_FILE, labelled.labels_kji, scan)
    write_labels(out / SUBTYPES_FILE, labelled.subtypes_kji, scan)
    (out / TRUTH_FILE).write_text(truth.to_json())
    return truth


def _lowest_mm(scan: Scan) -> float:
    """Return how far down the planes reach within the head, leaning ones in front or behind."""
    lean_mm = 120 * abs(scan.normal[1]) / scan.normal[2]
    return float(np.floor(scan.centre_z_mm[0] - lean_mm - scan.slice_thickness_mm))


def _add_head_rest(hu_zyx: npt.NDArray[np.float32], lattice: Lattice) -> None:
    """Put a cradle under the head where there was air."""
    y, x = lattice.axis_mm(1)[:, None], lattice.axis_mm(2)[None, :]
    shell = (np.abs(np.hypot(x, y) - _REST_RADIUS_MM) < _REST_HALF_MM) & (y > 55)
    hu_zyx[(hu_zyx < AIR_HU + 50) & shell] = _REST_HU
