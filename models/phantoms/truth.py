"""What a phantom study truly holds: a label for every voxel of its slices, and every lesion's volume there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import nibabel as nib
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from models.phantoms.head import HeadPhantom
    from models.phantoms.lattice import Box, Point
    from models.phantoms.lesions import LesionKind
    from models.phantoms.scan import Sampler, Scan

Laterality = Literal["left", "right", "bilateral"]

LABELS = {"IPH": 1, "EAH": 2, "oedema": 3, "IVH": 4}
LABEL_OF_KIND: dict[LesionKind, str] = {"iph": "IPH", "ivh": "IVH", "sah": "EAH", "sdh": "EAH", "edh": "EAH"}
SUBTYPE_OF_KIND: dict[LesionKind, int] = {"edh": 1, "iph": 2, "ivh": 3, "sah": 4, "sdh": 5}
"""The values of the second truth, which tells five subtypes apart and says nothing of oedema, as BHSD numbers them."""
_ONE_SIDED = 0.9  # at least this share on one side
LEAST_SHARE = 0.25  # a voxel with less of a lesion is never labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionTruth:
    """One lesion: what was asked for, what was made, and what the slices' voxels sample of it."""

    kind: str
    label: str
    requested_ml: float
    fitted_ml: float  # on the fine lattice
    sampled_ml: float  # labelled voxels times each slice's own share of the distance along the normal
    laterality: Laterality
    centroid_lps_mm: Point | None  # of the labelled voxels; none where the scan misses the lesion
    oedema_requested_ml: float
    oedema_sampled_ml: float
    slices: tuple[int, ...]  # those with labelled blood of it, counted from 0 at the foot: slice labels


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomTruth:
    """A written phantom study; `truth.json` holds the same."""

    study_instance_uid: str
    series_instance_uid: str
    slices: int
    seed: int
    tilt_deg: float
    lesions: tuple[LesionTruth, ...]
    volumes_ml: dict[str, float]  # sampled, by label
    positions_lps_mm: tuple[Point, ...]  # ImagePositionPatient, foot to head, as the slices of `truth.nii.gz`
    shares_mm: tuple[float, ...]  # of the distance along the normal, for every slice
    painted_into: str | None = None  # SHA-256 over the slices of the person's head that the lesions were drawn into

    def to_json(self) -> str:
        """Return `truth.json`, schema 1; only a painted head says what it was painted into."""
        stated = asdict(self)
        if self.painted_into is None:
            del stated["painted_into"]
        return json.dumps({"schema": 1, **stated}, indent=2) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSlices:
    """The truth on the slices' grid, (slices, rows, columns), with what it adds up to."""

    labels_kji: npt.NDArray[np.uint8]
    subtypes_kji: npt.NDArray[np.uint8]  # the same blood, by subtype
    lesions: tuple[LesionTruth, ...]
    volumes_ml: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one slice samples of one lesion: the places where it has a share, and the shares."""

    k: int
    j: npt.NDArray[np.intp]
    i: npt.NDArray[np.intp]
    share: npt.NDArray[np.float32]


def label_slices(head: HeadPhantom, scan: Scan, sampler: Sampler) -> LabelledSlices:
    """Label the voxels of a scan.

    Thick slices blur thin blood, so that a fixed limit of one half would lose much of a crescent or of blood in sulci.
    A lesion's voxels are therefore those with its greatest shares, as many as have its volume within the scan.
    """
    labels_kji = np.zeros((scan.slices, scan.rows, scan.columns), dtype=np.uint8)
    subtypes_kji = np.zeros_like(labels_kji)
    lesions = []
    for bleed in head.bleeds:
        oedema: list[_Part] = []
        if bleed.oedema is not None:
            oedema = _parts(head, scan, sampler, bleed.box, bleed.oedema)
            _write(labels_kji, oedema, LABELS["oedema"], scan)
            _write(subtypes_kji, oedema, 0, scan)
        label = LABEL_OF_KIND[bleed.request.kind]
        parts = _parts(head, scan, sampler, bleed.box, bleed.share)
        sampled_ml = _write(labels_kji, parts, LABELS[label], scan)
        _write(subtypes_kji, parts, SUBTYPE_OF_KIND[bleed.request.kind], scan)
        left, centroid = _where(parts, scan)
        lesions.append(
            LesionTruth(
                kind=bleed.request.kind,
                label=label,
                requested_ml=bleed.request.volume_ml,
                fitted_ml=round(head.volume_ml(bleed), 4),
                sampled_ml=round(sampled_ml, 4),
                laterality=laterality_of(left if left is not None else float(bleed.left)),
                centroid_lps_mm=centroid,
                oedema_requested_ml=bleed.request.oedema_ml,
                oedema_sampled_ml=round(_labelled_ml(labels_kji, oedema, LABELS["oedema"], scan), 4),
                slices=tuple(part.k for part in parts if len(part.j)),
            )
        )
    voxel_ml = scan.pixel_spacing_mm**2 * np.array(scan.shares_mm) / 1000
    volumes_ml = {
        name: round(float(((labels_kji == value).sum(axis=(1, 2)) * voxel_ml).sum()), 4)
        for name, value in LABELS.items()
    }
    return LabelledSlices(
        labels_kji=labels_kji, subtypes_kji=subtypes_kji, lesions=tuple(lesions), volumes_ml=volumes_ml
    )


def write_labels(path: Path, labels_kji: npt.NDArray[np.uint8], scan: Scan) -> None:
    """Write the labels as NIfTI, axes (i, j, k); the affine holds the shear of a tilted scan, and uneven gaps' mean."""
    first = np.array(scan.position_lps_mm(0))
    last = np.array(scan.position_lps_mm(scan.slices - 1))
    affine = np.eye(4)
    affine[:3, 0] = scan.pixel_spacing_mm * np.array(scan.row_cosine)
    affine[:3, 1] = scan.pixel_spacing_mm * np.array(scan.column_cosine)
    affine[:3, 2] = (
        (last - first) / (scan.slices - 1) if scan.slices > 1 else scan.slice_thickness_mm * np.array(scan.normal)
    )
    affine[:3, 3] = first
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    image = nib.Nifti1Image(  # type: ignore[no-untyped-call]
        np.ascontiguousarray(labels_kji.transpose(2, 1, 0)), lps_to_ras @ affine
    )
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    nib.save(image, path)


def _parts(head: HeadPhantom, scan: Scan, sampler: Sampler, box: Box, share: npt.NDArray[np.float32]) -> list[_Part]:
    """Return the voxels with the greatest shares of a lesion, as many as have its volume within the scan."""
    field = np.zeros(head.lattice.shape_zyx, dtype=np.float32)
    field[box] = share
    parts, volume_mm = [], 0.0  # volumes per pixel area: lengths
    for k in range(scan.slices):
        low, high = sampler.layers(k)
        if low >= box[0].stop or high <= box[0].start:
            continue
        image = sampler.slice_of(field, k)
        volume_mm += float(image.sum(dtype=np.float64)) * scan.shares_mm[k]
        j, i = np.nonzero(image >= LEAST_SHARE)
        parts.append(_Part(k=k, j=j, i=i, share=image[j, i]))
    if not parts:
        return []
    shares = np.concatenate([part.share for part in parts])
    lengths_mm = np.concatenate([np.full(len(part.j), scan.shares_mm[part.k]) for part in parts])
    kept = greatest_shares(shares, lengths_mm, volume_mm)
    chosen = np.split(kept, np.cumsum([len(part.j) for part in parts])[:-1])
    return [
        replace(part, j=part.j[keep], i=part.i[keep], share=part.share[keep])
        for part, keep in zip(parts, chosen, strict=True)
    ]


def greatest_shares(
    shares: npt.NDArray[np.float32], sizes: npt.NDArray[np.float64], wanted: float
) -> npt.NDArray[np.bool_]:
    """Return which voxels a lesion is: those with its greatest shares, as many as have its size together."""
    order = np.argsort(-shares, kind="stable")
    kept = np.zeros(len(shares), dtype=np.bool_)
    kept[order[: int(np.searchsorted(np.cumsum(sizes[order]), wanted))]] = True
    return kept


def _write(labels_kji: npt.NDArray[np.uint8], parts: list[_Part], label: int, scan: Scan) -> float:
    """Set the label in the parts' voxels; return their volume in mL."""
    volume_mm3 = 0.0
    for part in parts:
        labels_kji[part.k, part.j, part.i] = label
        volume_mm3 += len(part.j) * scan.pixel_spacing_mm**2 * scan.shares_mm[part.k]
    return volume_mm3 / 1000


def _labelled_ml(labels_kji: npt.NDArray[np.uint8], parts: list[_Part], label: int, scan: Scan) -> float:
    """Return the volume in mL of the parts' voxels that have the label: blood took its rim from oedema."""
    voxel_mm2 = scan.pixel_spacing_mm**2
    return sum(
        float((labels_kji[part.k, part.j, part.i] == label).sum()) * voxel_mm2 * scan.shares_mm[part.k] / 1000
        for part in parts
    )


def _where(parts: list[_Part], scan: Scan) -> tuple[float | None, Point | None]:
    """Return the share of the volume on the patient's left, and the centroid; none for nothing."""
    weights = np.concatenate([np.full(len(part.j), scan.shares_mm[part.k]) for part in parts]) if parts else np.empty(0)
    if weights.size == 0:
        return None, None
    places = np.concatenate([scan.places_lps_mm(part.k, part.j, part.i) for part in parts])
    x, y, z = (round(float(value), 2) for value in np.average(places, axis=0, weights=weights))
    return float(weights[places[:, 0] > 0].sum() / weights.sum()), (x, y, z)


def laterality_of(left: float) -> Laterality:
    """Return the side of a lesion with this share of it on the patient's left."""
    if left >= _ONE_SIDED:
        return "left"
    return "right" if left <= 1 - _ONE_SIDED else "bilateral"
