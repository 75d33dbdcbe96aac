"""A data set's scans as samples on a model's grid, read the node's own way, and kept on disk for the next time.

Labels go the way of HU: the share of each label is resampled like the scan, so that tilt and uneven slices are undone
alike, and a grid point gets the label with the greatest share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from console.evaluation.case_volume import volume_of
from console.training.shelf import shelved
from ichor.errors import PermanentError
from models.evaluation.grid import MaskGrid
from models.evaluation.mask_file import BadMask, LabelMask, read_mask, read_seg
from models.evaluation.pairing import Fault
from models.evaluation.scan import majority
from models.training.sample import Sample
from worker.grid import resample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from console.evaluation.case_volume import CaseVolume
    from models.evaluation.label_map import LabelMap
    from models.training.data.case import Case

Read = TypeVar("Read")

CACHE_VERSION = 1
"""To be raised where the same files would give another sample."""

_ARRAYS = ("hu", "labels", "scanned")
_FULL = 1000  # a whole voxel of a label, as resampling sees it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How scans become samples."""

    spacing_zyx_mm: tuple[float, float, float]
    label_map: LabelMap
    channels: Mapping[int, int]  # the model's channel by mask value
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSample:
    """A sample, and a hash over the files that it is made of."""

    sample: Sample
    sha256: str


def read_samples(
    cases: Sequence[Case], reading: Reading, *, on_sample: Callable[[], None] | None = None
) -> tuple[tuple[ReadSample, ...], tuple[Fault, ...]]:
    """Read the samples of these scans; one that cannot be used becomes a fault with its name."""
    return read_each(cases, lambda case: _read(case, reading), on_sample=on_sample)


def read_each(
    cases: Sequence[Case], read: Callable[[Case], Read], *, on_sample: Callable[[], None] | None = None
) -> tuple[tuple[Read, ...], tuple[Fault, ...]]:
    """Read scan after scan; one that cannot be used becomes a fault with its name."""
    found, faults = [], []
    for case in cases:
        try:
            found.append(read(case))
        except PermanentError as error:
            text = str(error)
            text = text if case.name in text else f"{case.name}: {text}"
            faults.append(Fault(name=case.name, code=error.code, text=text))
        if on_sample is not None:
            on_sample()
    return tuple(found), tuple(faults)


def _read(case: Case, reading: Reading) -> ReadSample:
    stated = [CACHE_VERSION, case.name, list(reading.spacing_zyx_mm), sorted(reading.channels.items())]
    found = shelved(reading.cache, case, stated, lambda: dict(zip(_ARRAYS, _sample(case, reading), strict=True)))
    sample = Sample.of(case.name, *(found.arrays[name] for name in _ARRAYS))
    return ReadSample(sample=sample, sha256=found.sha256)


def _sample(
    case: Case, reading: Reading
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    held = volume_of(case)
    labels_kji = labels_on_volume(case, held, reading)
    grid = resample(held.volume, reading.spacing_zyx_mm).grid
    labels = np.zeros(grid.hu_zyx.shape, dtype=np.uint8)
    greatest = np.ones(grid.hu_zyx.shape, dtype=np.float32)  # the share of background, then of what stands there
    shares = {}
    for channel in (int(one) for one in np.unique(labels_kji) if one):
        whole = (labels_kji == channel).astype(np.int16) * np.int16(_FULL)
        share = resample(replace(held.volume, hu_kji=whole), reading.spacing_zyx_mm).grid.hu_zyx / np.float32(_FULL)
        shares[channel] = np.clip(share, 0, 1)  # outside the scan it is far below 0
        greatest -= shares[channel]
    for channel, share in shares.items():
        more = share > greatest
        labels[more] = channel
        greatest[more] = share[more]
    return grid.hu_zyx.astype(np.float16), labels, grid.scanned_zyx


def labels_on_volume(case: Case, held: CaseVolume, reading: Reading) -> npt.NDArray[np.uint8]:
    """Return the model's channels on the volume's slices, (k, j, i)."""
    k, j, i = held.volume.hu_kji.shape
    grid = MaskGrid(shape=(i, j, k), affine_ras=held.affine_ras)
    mask = _truth(case, grid, reading.label_map)
    if mask.grid.shape != grid.shape:
        raise BadMask(f"{case.name}: the mask has the shape {mask.grid.shape}, the scan {grid.shape}.")
    # of NIfTI pairs the scan's place holds; a mask beside DICOM files has only its own
    if case.image is None and not mask.grid.lies_with(grid):
        raise BadMask(f"{case.name}: the mask has the scan's shape but lies elsewhere (its affine differs).")
    unknown = sorted(set(np.unique(mask.labels_ijk).tolist()) - reading.label_map.values - {0})
    if unknown:
        raise BadMask(
            f"{case.name}: the mask holds the value {unknown[0]}, which {reading.label_map.name!r} does not know."
        )
    channel_of = np.zeros(256, dtype=np.uint8)
    for value, channel in reading.channels.items():
        channel_of[value] = channel
    labels_kji: npt.NDArray[np.uint8] = channel_of[mask.labels_ijk.transpose(2, 1, 0)[held.order]]
    return labels_kji


def _truth(case: Case, grid: MaskGrid, label_map: LabelMap) -> LabelMask:
    path = case.masks.mask
    if path is None:
        return majority(case.name, tuple(read_mask(one) for one in case.masks.raters))
    if path.suffix == ".dcm":
        return read_seg(path, grid, {name: value for value, name in label_map.classes})
    return read_mask(path)
