"""A data set's scans as samples for a slice classifier: read the node's own way, labelled by slice.

Labels go the way of HU: what is said of a slice is resampled like the slice, so that a plane of the model's grid
between two of them gets both labels by their shares. Who says it: the data set's table of slices, else its masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from console.evaluation.case_volume import volume_of
from console.training.samples import Reading, labels_on_volume, read_each
from console.training.shelf import shelved
from ichor.errors import PermanentError
from models.evaluation.label_map import BLEEDS
from models.training.data.case import SUBTYPES
from models.training.slice_sample import OUTPUTS, SliceSample
from worker.grid import resample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    import numpy.typing as npt

    from console.evaluation.case_volume import CaseVolume
    from models.evaluation.label_map import LabelMap
    from models.evaluation.pairing import Fault
    from models.training.data.case import Case
    from worker.volume import Volume

CACHE_VERSION = 1
"""To be raised where the same files would give another sample."""

_FULL = 1000  # a slice that shows it, as resampling sees it


class NoSliceLabels(PermanentError):
    """Nobody says what each slice of the scan shows."""

    code = "no_slice_labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceReading:
    """How scans become samples."""

    spacing_zyx_mm: tuple[float, float, float]
    label_map: LabelMap | None  # of the masks; None where there are none
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSlices:
    """A sample, and a hash over the files that it is made of."""

    sample: SliceSample
    sha256: str


def read_slice_samples(
    cases: Sequence[Case], reading: SliceReading, *, on_sample: Callable[[], None] | None = None
) -> tuple[tuple[ReadSlices, ...], tuple[Fault, ...]]:
    """Read the samples of these scans; one that cannot be used becomes a fault with its name."""
    return read_each(cases, lambda case: _read(case, reading), on_sample=on_sample)


def _read(case: Case, reading: SliceReading) -> ReadSlices:
    said = sorted([one.index, None if one.file is None else one.file.name, sorted(one.subtypes)] for one in case.slices)
    name = None if reading.label_map is None else reading.label_map.name
    stated: list[Any] = ["slices", CACHE_VERSION, case.name, list(reading.spacing_zyx_mm), name, said]
    found = shelved(reading.cache, case, stated, lambda: _sample(case, reading))
    return ReadSlices(
        sample=SliceSample(
            name=case.name,
            hu_zyx=found.arrays["hu"],
            scanned_zyx=found.arrays["scanned"],
            targets_zo=found.arrays["targets"],
            blood_zyx=found.arrays.get("blood"),
        ),
        sha256=found.sha256,
    )


def _sample(case: Case, reading: SliceReading) -> dict[str, npt.NDArray[Any]]:
    held = volume_of(case)
    values = _masks(case, held, reading) if case.segmented else None
    shows_ko = _shown(case, held, values, reading.label_map)
    grid = resample(held.volume, reading.spacing_zyx_mm).grid
    inside = np.maximum(grid.scanned_zyx.sum(axis=(1, 2)), 1)
    targets = np.full((len(grid.hu_zyx), len(OUTPUTS)), np.nan, dtype=np.float32)
    for output in np.flatnonzero(~np.isnan(shows_ko).any(axis=0)):
        share = _on_grid(held.volume, shows_ko[:, output, None, None] > 0, reading.spacing_zyx_mm)
        targets[:, output] = share.sum(axis=(1, 2)) / inside
    arrays: dict[str, npt.NDArray[Any]] = {
        "hu": grid.hu_zyx.astype(np.float16),
        "scanned": grid.scanned_zyx,
        "targets": targets,
    }
    if values is not None:
        arrays["blood"] = _on_grid(held.volume, values > 0, reading.spacing_zyx_mm) > 0.5
    return arrays


def _on_grid(
    volume: Volume, where: npt.NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Resample a mask, or a yes or no for each slice, to shares from 0 to 1; 0 outside the scan."""
    whole = np.broadcast_to(where, volume.hu_kji.shape).astype(np.int16) * np.int16(_FULL)
    share = resample(replace(volume, hu_kji=whole), spacing_zyx_mm).grid.hu_zyx / np.float32(_FULL)
    inside: npt.NDArray[np.float32] = np.clip(share, 0, 1)
    return inside


def _masks(case: Case, held: CaseVolume, reading: SliceReading) -> npt.NDArray[np.uint8]:
    """Return the masks' own values on the volume's slices, (k, j, i), where they are haemorrhage; else 0."""
    if reading.label_map is None:
        raise NoSliceLabels(f"{case.name}: the data set has masks and no label map for them.")
    blood = {value: value for value, name in reading.label_map.classes if name in BLEEDS}
    channels = Reading(
        spacing_zyx_mm=reading.spacing_zyx_mm, label_map=reading.label_map, channels=blood, cache=reading.cache
    )
    return labels_on_volume(case, held, channels)


def _shown(
    case: Case, held: CaseVolume, values: npt.NDArray[np.uint8] | None, label_map: LabelMap | None
) -> npt.NDArray[np.float32]:
    """Return (slices of the volume, outputs) 1 or 0; NaN for subtypes that nobody tells apart."""
    shows = np.full((len(held.volume.slices), len(OUTPUTS)), np.nan, dtype=np.float32)
    if case.slices:
        by_file = {one.file.resolve(): one.subtypes for one in case.slices if one.file is not None}
        by_index = {one.index: one.subtypes for one in case.slices if one.index is not None}
        for row, (own, place) in enumerate(zip(held.order.tolist(), held.volume.slices, strict=True)):
            said = by_index.get(own, by_file.get(place.path.resolve()))
            if said is None:
                raise NoSliceLabels(f"{case.name}: nobody says what slice {own + 1} shows.")
            shows[row] = [bool(said), *(kind in said for kind in SUBTYPES)]
        return shows
    if values is None or label_map is None:
        raise NoSliceLabels(f"{case.name}: there are neither slice labels nor a mask.")
    shows[:, 0] = (values > 0).any(axis=(1, 2))
    if label_map.subtypes and all(label_map.values_of(kind) for kind in SUBTYPES):
        for output, kind in enumerate(SUBTYPES, start=1):
            shows[:, output] = np.isin(values, list(label_map.values_of(kind) or ())).any(axis=(1, 2))
    return shows
