"""Bleeds drawn into the head of a person, written as a phantom study: `dicom/`, two truths and `truth.json`.

A bleed is laid over the scan by its share of every voxel: what was there gives way to blood, the scan's noise stays.
Volumes are those of the slices' voxels times each slice's own share of the stack. The two NIfTI truths have the mean
distance of their slices; where distances differ, `truth.json` says where each slice lies.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from console.evaluation.case_volume import CaseVolume
from console.painting.image import painted_image
from console.painting.sampling import slice_shares
from ichor.errors import NotAnalysable
from ichor.identity import derive_uid
from models.phantoms.ct import StudyUids
from models.phantoms.real_head import RealHead
from models.phantoms.study import DICOM_FOLDER, LABELS_FILE, SUBTYPES_FILE, TRUTH_FILE
from models.phantoms.truth import (
    LABEL_OF_KIND,
    LABELS,
    LEAST_SHARE,
    SUBTYPE_OF_KIND,
    LesionTruth,
    PhantomTruth,
    greatest_shares,
    laterality_of,
)
from worker.grid import resample
from worker.series import read_studies
from worker.volume import read_volume

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from console.painting.sampling import SliceShares
    from models.phantoms.bleeds import Bleed
    from models.phantoms.lesions import LesionRequest
    from worker.grid import GridMapping
    from worker.series import Series
    from worker.volume import Volume

_FINE_MM = 1.0
_SOFT_HU = (-20.0, 110.0)
_ROUND_MM = 3.0  # over which the tissue that gives way is averaged
_OEDEMA_HU = 20.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Canvas:
    """A scan of a head, read once for as many paintings as are wanted."""

    series: Series
    case: CaseVolume
    mapping: GridMapping
    head: RealHead
    sha256: str

    @classmethod
    def of(cls, folder: Path) -> Canvas:
        """Read the one CT series of a folder.

        Raises NotAnalysable where there is none, or several, and PhantomInvalid where it shows no whole head.
        """
        found = [one for study in read_studies([folder]) for one in study.series if one.slices]
        if len(found) != 1:
            raise NotAnalysable("several_series", f"{folder.name} holds {len(found)} series with slices, not one.")
        case = CaseVolume.of(read_volume(found[0]))
        mapping = resample(case.volume, (_FINE_MM, _FINE_MM, _FINE_MM))
        return cls(
            series=found[0],
            case=case,
            mapping=mapping,
            head=RealHead.of(mapping.grid),
            sha256=hashlib.sha256(case.volume.hu_kji.tobytes()).hexdigest(),
        )


def paint_study(out: Path, canvas: Canvas, lesions: tuple[LesionRequest, ...], seed: int) -> PhantomTruth:
    """Write the head with these lesions below `out`, replacing what is there; none gives the head as it is.

    Raises PhantomInvalid where a lesion does not fit, or cannot be drawn into the head of a person.
    """
    volume = canvas.case.volume
    hu_kji = volume.hu_kji.astype(np.float32)
    labels_kji = np.zeros(hu_kji.shape, dtype=np.uint8)
    subtypes_kji = np.zeros_like(labels_kji)
    stated = []
    for bleed in canvas.head.grow(lesions, seed):
        oedema = np.empty((0, 3), dtype=np.intp)
        if bleed.oedema is not None:
            shares = slice_shares(volume, canvas.mapping, bleed.box, bleed.oedema)
            _lay(hu_kji, volume, shares, _OEDEMA_HU)
            oedema = _mark(volume, shares, (labels_kji, LABELS["oedema"]), (subtypes_kji, 0))
        shares = slice_shares(volume, canvas.mapping, bleed.box, bleed.share)
        _lay(hu_kji, volume, shares, bleed.mean_hu)
        kind = bleed.request.kind
        label = LABELS[LABEL_OF_KIND[kind]]
        voxels = _mark(volume, shares, (labels_kji, label), (subtypes_kji, SUBTYPE_OF_KIND[kind]))
        oedema = oedema[labels_kji[tuple(oedema.T)] == LABELS["oedema"]]  # blood has its rim
        stated.append(_truth(canvas, bleed, voxels, _voxels_ml(volume, oedema)))
    uids = _uids(canvas, lesions, seed)
    _write_images(out / DICOM_FOLDER, canvas, uids, np.rint(hu_kji).astype(np.int16), seed)
    canvas.case.write_labels(out / LABELS_FILE, labels_kji)
    canvas.case.write_labels(out / SUBTYPES_FILE, subtypes_kji)
    truth = PhantomTruth(
        study_instance_uid=uids.study,
        series_instance_uid=uids.series,
        slices=len(volume.slices),
        seed=seed,
        tilt_deg=float(canvas.series.header.get("GantryDetectorTilt") or 0.0),
        lesions=tuple(stated),
        volumes_ml={
            name: round(_voxels_ml(volume, np.argwhere(labels_kji == value)), 4) for name, value in LABELS.items()
        },
        positions_lps_mm=tuple(one.position_lps_mm for one in volume.slices),
        shares_mm=tuple(float(share) for share in volume.shares_mm),
        painted_into=canvas.sha256,
    )
    (out / TRUTH_FILE).write_text(truth.to_json(), encoding="utf-8")
    return truth


def _lay(hu_kji: npt.NDArray[np.float32], volume: Volume, shares: tuple[SliceShares, ...], mean_hu: float) -> None:
    """Let blood take the place of what was there, by its share of each voxel."""
    sigma = (_ROUND_MM / volume.row_spacing_mm, _ROUND_MM / volume.column_spacing_mm)
    for one in shares:
        plane = hu_kji[one.k]
        soft = ((plane > _SOFT_HU[0]) & (plane < _SOFT_HU[1])).astype(np.float32)
        weight = ndimage.gaussian_filter(soft, sigma)
        around = ndimage.gaussian_filter(plane * soft, sigma) / np.maximum(weight, np.float32(1e-3))
        part = (one.rows, one.columns)
        given_way = np.where(weight > 0.02, around, plane)[part]
        plane[part] += one.share_ji * (np.float32(mean_hu) - given_way)


def _mark(
    volume: Volume, shares: tuple[SliceShares, ...], *marks: tuple[npt.NDArray[np.uint8], int]
) -> npt.NDArray[np.intp]:
    """Label the voxels that a lesion is, and return them as (n, 3) of k, j, i; see `models.phantoms.truth`."""
    held, found, sizes, wanted_ml = [], [], [], 0.0
    for one in shares:
        voxel_ml = volume.voxel_ml(one.k)
        wanted_ml += float(one.share_ji.sum(dtype=np.float64)) * voxel_ml
        j, i = np.nonzero(one.share_ji >= LEAST_SHARE)
        held.append(np.stack([np.full(len(j), one.k), j + one.rows.start, i + one.columns.start], axis=1))
        found.append(one.share_ji[j, i])
        sizes.append(np.full(len(j), voxel_ml))
    if not held:
        return np.empty((0, 3), dtype=np.intp)
    voxels = np.concatenate(held)[greatest_shares(np.concatenate(found), np.concatenate(sizes), wanted_ml)]
    for labels_kji, label in marks:
        labels_kji[tuple(voxels.T)] = label
    return voxels


def _truth(canvas: Canvas, bleed: Bleed, voxels: npt.NDArray[np.intp], oedema_ml: float) -> LesionTruth:
    volume, request = canvas.case.volume, bleed.request
    places = np.array([volume.lps_of(int(k), float(j), float(i)) for k, j, i in voxels]).reshape(-1, 3)
    sizes = np.array([volume.voxel_ml(int(k)) for k in voxels[:, 0]])
    middle_x_mm = canvas.mapping.lps_of(0, 0, canvas.head.middle_x)[0]
    left, centroid = float(bleed.left), None
    if len(voxels):  # gaps of the scan may miss a small one
        x, y, z = (round(float(value), 2) for value in np.average(places, axis=0, weights=sizes))
        left, centroid = float(sizes[places[:, 0] > middle_x_mm].sum() / sizes.sum()), (x, y, z)
    return LesionTruth(
        kind=request.kind,
        label=LABEL_OF_KIND[request.kind],
        requested_ml=request.volume_ml,
        fitted_ml=round(float(bleed.share.sum(dtype=np.float64)) * canvas.head.space.lattice.voxel_ml, 4),
        sampled_ml=round(float(sizes.sum()), 4),
        laterality=laterality_of(left),
        centroid_lps_mm=centroid,
        oedema_requested_ml=request.oedema_ml,
        oedema_sampled_ml=round(oedema_ml, 4),
        slices=tuple(int(k) for k in np.unique(voxels[:, 0])),
    )


def _voxels_ml(volume: Volume, voxels: npt.NDArray[np.intp]) -> float:
    counts = np.bincount(voxels[:, 0], minlength=len(volume.slices))
    return float(sum(count * volume.voxel_ml(k) for k, count in enumerate(counts)))


def _uids(canvas: Canvas, lesions: tuple[LesionRequest, ...], seed: int) -> StudyUids:
    parts = (canvas.sha256, repr(lesions), str(seed))
    return StudyUids(
        study=derive_uid("painted-study", *parts),
        series=derive_uid("painted-series", *parts),
        frame_of_reference=derive_uid("painted-frame-of-reference", *parts),
    )


def _write_images(folder: Path, canvas: Canvas, uids: StudyUids, hu_kji: npt.NDArray[np.int16], seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.dcm"):
        stale.unlink()
    for k, one in enumerate(canvas.case.volume.slices):
        image = painted_image(canvas.series.header, one, uids, k, hu_kji[k], seed=seed)
        image.save_as(folder / f"{k + 1:04d}.dcm", enforce_file_format=True)
