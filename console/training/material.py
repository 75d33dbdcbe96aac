"""What the recipe's pre-training sees: training patients alone, of the recipe's own data or of other sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.training.samples import Reading, read_samples
from console.training.unmasked import NoSliceLabels, read_unmasked
from ichor.errors import PermanentError
from models.training.manifest import DataRecord
from models.training.pretraining.material import Material, marks_of
from models.training.target import channels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from models.training.data.case import Case, DataSet
    from models.training.recipe import Recipe
    from models.training.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The scans of one set that a pre-training may see."""

    data: DataSet
    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    sample: Sample
    marks_zc: npt.NDArray[np.bool_] | None
    sha256: str


def apart_from(data: DataSet, patients: frozenset[str], *, most: int | None = None) -> Look:
    """Return a set without these patients, `most` scans of it where that is said."""
    cases = tuple(case for case in data.cases if case.patient not in patients)
    missing = len(data.cases) - len(cases)
    note = f"{missing} scans are of patients who are in the labelled data, and were not looked at."
    return Look(data=data, cases=cases[:most], notes=(note,) if missing else ())


def read_material(
    recipe: Recipe, looks: Sequence[Look], cache: Path, on_sample: Callable[[], None]
) -> tuple[Material, tuple[DataRecord, ...]]:
    """Read the scans; one that cannot be used, or says nothing of its slices where needed, is named in the records."""
    how = recipe.pretraining
    needs_marks = how is not None and how.uses_slices
    scans: list[_Scan] = []
    records = []
    for look in looks:
        found, faults = [], []
        for case in look.cases:
            try:
                one = _read(case, look.data, recipe, cache)
                if needs_marks and one.marks_zc is None:
                    raise NoSliceLabels(f"{case.name}: nobody says what is on its slices.")
                found.append(one)
            except PermanentError as error:
                faults.append(str(error) if case.name in str(error) else f"{case.name}: {error}")
            on_sample()
        scans += found
        records.append(record_of(look, "pre-training", [(one.sample.name, one.sha256) for one in found], faults))
    digest = hashlib.sha256("".join(one.sha256 for one in records).encode()).hexdigest()
    marks = [one.marks_zc for one in scans if one.marks_zc is not None] if needs_marks else []
    return Material(samples=[one.sample for one in scans], marks_zc=marks, digest=digest), tuple(records)


def record_of(look: Look, use: str, used: Sequence[tuple[str, str]], faults: Sequence[str]) -> DataRecord:
    """Write down what was looked at without masks: each scan's name and hash."""
    digest = hashlib.sha256("".join(f"{use}\0{name}\0{sha256}\n" for name, sha256 in used).encode())
    return DataRecord(
        name=look.data.name,
        origin=look.data.origin,
        licence=look.data.licence,
        split_rule="none: no mask was read",
        split_sha256="",
        training=tuple(name for name, _ in used),
        validation=(),
        left_out=(),
        faults=(*(fault.text for fault in look.data.faults), *faults),
        notes=(*look.data.notes, *look.notes),
        sha256=digest.hexdigest(),
        patients=tuple(sorted({case.patient for case in look.cases})),
        use=use,
    )


def _read(case: Case, data: DataSet, recipe: Recipe, cache: Path) -> _Scan:
    labels, spacing = recipe.label_specs, recipe.model.spacing_zyx_mm
    if not case.segmented or data.label_map is None:
        unmasked = read_unmasked(case, labels, spacing, cache)
        return _Scan(sample=unmasked.sample, marks_zc=unmasked.marks_zc, sha256=unmasked.sha256)
    channels = channels_of(data.label_map, labels, data.name)
    reading = Reading(spacing_zyx_mm=spacing, label_map=data.label_map, channels=channels, cache=cache)
    found, faults = read_samples([case], reading)
    if faults:
        raise NoSliceLabels(faults[0].text)
    return _Scan(sample=found[0].sample, marks_zc=marks_of(found[0].sample, labels), sha256=found[0].sha256)
