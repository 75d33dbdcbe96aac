"""Scans without masks as samples: what a pre-training looks at, with what a table says of each of their slices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from console.evaluation.case_volume import volume_of
from console.training.shelf import shelved
from ichor.errors import PermanentError
from models.evaluation.label_map import BLEEDS, class_of
from models.training.sample import Sample
from worker.grid import resample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from console.evaluation.case_volume import CaseVolume
    from models.spec import LabelSpec
    from models.training.data.case import Case

CACHE_VERSION = 1
"""To be raised where the same files would give another sample."""

_FULL = 1000  # a slice that shows it, as resampling sees it


class NoSliceLabels(PermanentError):
    """Nobody says what is on the slices of the scan."""

    code = "no_slice_labels"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unmasked:
    """A sample whose labels are all background, which nobody said; `marks_zc` as `Material` has them."""

    sample: Sample
    marks_zc: npt.NDArray[np.bool_] | None  # None: no slice is labelled
    sha256: str


def read_unmasked(
    case: Case, labels: Sequence[LabelSpec], spacing_zyx_mm: tuple[float, float, float], cache: Path
) -> Unmasked:
    """Read a scan; raise NotAnalysable where it forms no volume."""
    stated: list[Any] = [CACHE_VERSION, "unmasked", case.name, list(spacing_zyx_mm), [label.name for label in labels]]
    stated += [[one.index, None if one.file is None else one.file.name, sorted(one.subtypes)] for one in case.slices]

    def make() -> dict[str, npt.NDArray[np.generic]]:
        held = volume_of(case)
        grid = resample(held.volume, spacing_zyx_mm).grid
        arrays: dict[str, npt.NDArray[np.generic]] = {"hu": grid.hu_zyx.astype(np.float16), "scanned": grid.scanned_zyx}
        if case.slices:
            arrays["marks"] = _marks(case, held, labels, spacing_zyx_mm)
        return arrays

    found = shelved(cache, case, stated, make)
    nothing = np.zeros(found.arrays["hu"].shape, dtype=np.uint8)
    return Unmasked(
        sample=Sample.of(case.name, found.arrays["hu"], nothing, found.arrays["scanned"]),
        marks_zc=None if "marks" not in found.arrays else np.array(found.arrays["marks"]),
        sha256=found.sha256,
    )


def _marks(
    case: Case, held: CaseVolume, labels: Sequence[LabelSpec], spacing_zyx_mm: tuple[float, float, float]
) -> npt.NDArray[np.bool_]:
    """Return marks by slice of the grid: what is said of a slice is resampled as its HU are, half of it decides."""
    kinds = [BLEEDS[class_of(label)] for label in labels if label.haemorrhage]
    said = _subtypes(case, held)
    columns = []
    for kind in (BLEEDS["any"], *kinds):
        shows = np.array([bool(found & kind) for found in said], dtype=np.int16) * np.int16(_FULL)
        whole = np.broadcast_to(shows[:, None, None], held.volume.hu_kji.shape)
        share = resample(replace(held.volume, hu_kji=np.ascontiguousarray(whole)), spacing_zyx_mm).grid.hu_zyx
        columns.append(share.max(axis=(1, 2)) > _FULL / 2)
    return np.stack(columns, axis=1)


def _subtypes(case: Case, held: CaseVolume) -> list[frozenset[str]]:
    """Return what is said of each slice of the volume; raise NoSliceLabels where one is not labelled."""
    by_index = {one.index: one.subtypes for one in case.slices if one.index is not None}
    by_file = {one.file: one.subtypes for one in case.slices if one.file is not None}
    found = []
    for place, one in zip(held.order, held.volume.slices, strict=True):
        subtypes = by_file.get(one.path, by_index.get(int(place)))
        if subtypes is None:
            raise NoSliceLabels(f"{case.name}: slice {int(place) + 1} is not labelled.")
        found.append(subtypes)
    return found
