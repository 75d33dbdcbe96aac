"""The scans of a recipe for slice labels: read, split by patient, and a record of all that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.training.gathering import NoScans, deal, read_set, read_sets, record_of
from console.training.slice_samples import ReadSlices, SliceReading, read_slice_samples
from models.training.data.licence import Licence, inherited
from models.training.data.overlap import refuse_overlaps
from models.training.manifest import DataRecord
from models.training.slice_trainer import SliceHeads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from console.training.gathering import Parts
    from models.training.data.case import Case, DataSet
    from models.training.slice_recipe import SliceRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredSlices:
    """Everything that a training on slice labels sees, and where it comes from."""

    heads: SliceHeads
    records: tuple[DataRecord, ...]
    licence: Licence
    warnings: tuple[str, ...]


def gather_slices(
    recipe: SliceRecipe, cache: Path, *, on_progress: Callable[[float], None] | None = None
) -> GatheredSlices:
    """Gather the scans that somebody labelled by slice, or segmented; those that cannot be used are in the records.

    Masks are kept from training: the threshold's scans are the validation scans that have one, and the validation
    folds of `threshold_data`. Raises as the gathering of scans with masks does.
    """
    sets, warnings = read_sets(recipe)
    masked = tuple(read_set(one) for one in recipe.threshold_data)
    more = refuse_overlaps((*sets, *masked), allowed=recipe.allow_overlaps) if masked else ()
    dealt = [deal(data, _usable(data), recipe.split) for data in (*sets, *masked)]
    total = sum(len(one.training) + len(one.validation) for one in dealt[: len(sets)])
    total, done = total + sum(len(one.validation) for one in dealt[len(sets) :]), 0

    def on_sample() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done / total)

    training: list[ReadSlices] = []
    validation: list[ReadSlices] = []
    threshold: list[ReadSlices] = []
    records = []
    for number, parts in enumerate(dealt):
        trains_too = number < len(sets)
        record, trains, validates = _read_parts(parts, recipe, cache, on_sample, trains_too=trains_too)
        records.append(record)
        training += trains
        validation += validates if trains_too else []
        threshold += [one for one in validates if one.sample.blood_zyx is not None]
    for what, found in (("train on", training), ("validate on", validation), ("choose a threshold with", threshold)):
        if not found:
            faults = [text for record in records for text in record.faults]
            raise NoScans(f"There is no scan to {what}{f': {faults[0]}' if faults else ' in the chosen folds.'}")
    return GatheredSlices(
        heads=SliceHeads(
            training=[one.sample for one in training],
            validation=[one.sample for one in validation],
            threshold=[one.sample for one in threshold],
            digest=hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest(),
        ),
        records=tuple(records),
        licence=inherited(data.licence for data in (*sets, *masked)),
        warnings=tuple(dict.fromkeys((*warnings, *more))),
    )


def _usable(data: DataSet) -> list[Case]:
    return [case for case in data.cases if case.slices or case.segmented]


def _read_parts(
    parts: Parts, recipe: SliceRecipe, cache: Path, on_sample: Callable[[], None], *, trains_too: bool
) -> tuple[DataRecord, Sequence[ReadSlices], Sequence[ReadSlices]]:
    reading = SliceReading(spacing_zyx_mm=recipe.classifier.spacing_zyx_mm, label_map=parts.data.label_map, cache=cache)
    trains, of_training = read_slice_samples(parts.training if trains_too else (), reading, on_sample=on_sample)
    validates, of_validation = read_slice_samples(parts.validation, reading, on_sample=on_sample)
    faults = [fault.text for fault in (*parts.data.faults, *of_training, *of_validation)]
    used = {
        part: [(one.sample.name, one.sha256) for one in found]
        for part, found in (("training", trains), ("validation", validates))
    }
    return record_of(parts, used, faults), trains, validates
