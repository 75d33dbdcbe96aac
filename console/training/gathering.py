"""The scans of a recipe: data sets read, split by patient, on the model's grid, and a record of all that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.training.material import Look, apart_from, read_material
from console.training.samples import Reading, read_samples
from console.training.teaching import Teacher, teach
from ichor.errors import PermanentError
from models.evaluation.label_map import parse_label_map
from models.training.data.case import BadDataSet, DataSet
from models.training.data.catalogue import read_data
from models.training.data.licence import Licence, inherited
from models.training.data.overlap import refuse_overlaps
from models.training.data.split import SHIPPED, Split, SplitInvalid, load_split, make_split, parts_of, share_of
from models.training.manifest import DataRecord
from models.training.target import channels_of
from models.training.trainer import Heads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from console.training.samples import ReadSample
    from models.training.data.case import Case
    from models.training.recipe import DataRecipe, Recipe, SplitRecipe
    from models.training.sample import Sample
    from models.training.slice_recipe import SliceRecipe


class NoScans(PermanentError):
    """There is no scan to train on."""

    code = "no_scans"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything that a training sees, and where it comes from."""

    heads: Heads
    records: tuple[DataRecord, ...]
    licence: Licence
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A data set, dealt."""

    data: DataSet
    split: Split
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    left_out: tuple[Case, ...]
    every: tuple[Case, ...]  # that may train, before the share of the labels


def read_sets(recipe: Recipe | SliceRecipe) -> tuple[tuple[DataSet, ...], tuple[str, ...]]:
    """Read the data sets of a recipe, and what is to be said of overlaps where these are allowed.

    Raises BadDataSet, or DataOverlap where two sets show the same patients.
    """
    if not recipe.data:
        raise BadDataSet("The recipe names no [[data]].")
    sets = tuple(read_set(one) for one in recipe.data)
    return sets, refuse_overlaps(sets, allowed=recipe.allow_overlaps)


def gather(
    recipe: Recipe,
    cache: Path,
    *,
    teacher: Teacher | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Gathered:
    """Gather the scans; those that cannot be used are named in the records.

    A recipe with a teacher needs it loaded. Raises SplitInvalid, RecipeInvalid where masks cannot teach the labels, and
    NoScans where a part stays empty.
    """
    sets, warnings = read_sets(recipe)
    dealt = [deal(data, (case for case in data.cases if case.segmented), recipe.split) for data in sets]
    looks = _looks(recipe, dealt)
    unlabelled = [] if recipe.teacher is None else [read_set(one) for one in recipe.teacher.data]
    total, done = sum(len(one.training) + len(one.validation) for one in dealt), 0
    total += sum(len(look.cases) for look in looks) + sum(len(data.cases) for data in unlabelled)

    def on_sample() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done / total)

    training: list[Sample] = []
    validation: list[Sample] = []
    records = []
    for parts in dealt:
        record, trains, validates = _read_parts(parts, recipe, cache, on_sample)
        records.append(record)
        training += [one.sample for one in trains]
        validation += [one.sample for one in validates]
    for what, found in (("train on", training), ("validate on", validation)):
        if not found:
            faults = [text for record in records for text in record.faults]
            raise NoScans(f"There is no scan to {what}{f': {faults[0]}' if faults else ' in the chosen folds.'}")
    licences = [data.licence for data in sets]
    material = None
    if recipe.pretraining is not None:
        material, of_looks = read_material(recipe, looks, cache, on_sample)
        if not material.samples:
            raise NoScans("There is no scan to pre-train on.")
        records += of_looks
        licences += [look.data.licence for look in looks]
    if recipe.teacher is not None:
        if teacher is None:
            raise NoScans(f"The teacher {recipe.teacher.model} is not loaded.")
        known = frozenset(case.patient for one in dealt for case in (*one.every, *one.validation, *one.left_out))
        lesson = teach(recipe, recipe.teacher, teacher, unlabelled, known, cache, on_sample)
        training += lesson.samples
        records += lesson.records
        licences += [teacher.licence, *(data.licence for data in unlabelled)]
    digest = hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest()
    return Gathered(
        heads=Heads(training=training, validation=validation, digest=digest, material=material),
        records=tuple(records),
        licence=inherited(licences),
        warnings=warnings,
    )


def _looks(recipe: Recipe, dealt: Sequence[Parts]) -> tuple[Look, ...]:
    """Return what a pre-training may see: never a patient who validates or is left out."""
    if recipe.pretraining is None:
        return ()
    if not recipe.pretraining.data:
        return tuple(Look(data=one.data, cases=one.every) for one in dealt)
    held_out = frozenset(case.patient for one in dealt for case in (*one.validation, *one.left_out))
    most = recipe.split.most_scans
    return tuple(apart_from(read_set(one), held_out, most=most) for one in recipe.pretraining.data)


def read_set(one: DataRecipe) -> DataSet:
    """Read one data set of a recipe."""
    label_map = None if one.label_map is None else parse_label_map(one.label_map)
    return read_data(one.path, name=one.reader, label_map=label_map)


def deal(data: DataSet, usable: Iterable[Case], how: SplitRecipe) -> Parts:
    """Deal a data set's usable scans to parts, by the recipe's split file, the shipped one, or the rule."""
    cases = tuple(usable)
    shipped = SHIPPED / f"{data.name}.json"
    if how.file is not None:
        split = load_split(how.file)
    elif shipped.is_file():
        split = load_split(shipped)
    else:
        split = make_split(data.name, (case.patient for case in cases))
    if split.data != data.name:
        raise SplitInvalid(f"The split is of {split.data}, not of {data.name}.")
    training, validation = parts_of(cases, split, how.validation_fold)
    left_out: tuple[Case, ...] = ()
    if how.test_fold is not None:
        training, left_out = parts_of(training, split, how.test_fold)
    return Parts(
        data=data,
        split=split,
        training=share_of(training, how.label_fraction)[: how.most_scans],
        validation=validation[: how.most_scans],
        left_out=left_out,
        every=training[: how.most_scans],
    )


def _read_parts(
    parts: Parts, recipe: Recipe, cache: Path, on_sample: Callable[[], None]
) -> tuple[DataRecord, Sequence[ReadSample], Sequence[ReadSample]]:
    data = parts.data
    trains: Sequence[ReadSample] = ()
    validates: Sequence[ReadSample] = ()
    faults = [fault.text for fault in data.faults]
    if parts.training or parts.validation:
        if data.label_map is None:
            raise BadDataSet(f"{data.name} has no label map for its masks.")
        reading = Reading(
            spacing_zyx_mm=recipe.model.spacing_zyx_mm,
            label_map=data.label_map,
            channels=channels_of(data.label_map, recipe.label_specs, data.name),
            cache=cache,
        )
        trains, of_training = read_samples(parts.training, reading, on_sample=on_sample)
        validates, of_validation = read_samples(parts.validation, reading, on_sample=on_sample)
        faults += [fault.text for fault in (*of_training, *of_validation)]
    used = {
        part: [(one.sample.name, one.sha256) for one in found]
        for part, found in (("training", trains), ("validation", validates))
    }
    return record_of(parts, used, faults), trains, validates


def record_of(parts: Parts, used: Mapping[str, Sequence[tuple[str, str]]], faults: Sequence[str]) -> DataRecord:
    """Write down what was used: by part, `training` and `validation`, each scan's name and hash."""
    digest = hashlib.sha256()
    for part, found in used.items():
        for name, sha256 in found:
            digest.update(f"{part}\0{name}\0{sha256}\n".encode())
    return DataRecord(
        name=parts.data.name,
        origin=parts.data.origin,
        licence=parts.data.licence,
        split_rule=parts.split.rule,
        split_sha256=parts.split.sha256,
        training=tuple(name for name, _ in used["training"]),
        validation=tuple(name for name, _ in used["validation"]),
        left_out=tuple(case.name for case in parts.left_out),
        faults=tuple(faults),
        notes=parts.data.notes,
        sha256=digest.hexdigest(),
        patients=tuple(sorted({case.patient for case in (*parts.training, *parts.validation)})),
    )
