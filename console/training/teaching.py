"""A teacher of the registry over scans that nobody labelled: its pseudo-labels on the student's grid."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from console.evaluation.case_volume import volume_of
from console.training.material import apart_from, record_of
from console.training.shelf import shelved
from ichor.errors import PermanentError
from models.evaluation.label_map import label_map_of
from models.training.data.licence import Licence
from models.training.patches import Patches
from models.training.sample import Sample
from models.training.target import channels_of
from models.training.teaching import Taught, keep_top, pseudo_labels, slice_scores
from worker.grid import resample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ichor.settings import Settings
    from models.registry import Registry
    from models.segmenter import Segmenter
    from models.spec import ModelSpec
    from models.training.data.case import Case, DataSet
    from models.training.manifest import DataRecord
    from models.training.recipe import Recipe, TeacherRecipe
    from worker.grid import GridMapping

CACHE_VERSION = 1
"""To be raised where the same files would give other pseudo-labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A model, loaded, and its terms, which a student inherits."""

    segmenter: Segmenter
    licence: Licence

    @classmethod
    def of(cls, name: str, registry: Registry, settings: Settings) -> Teacher:
        """Load it; raise ModelNotFound or ModelError where that cannot be."""
        spec = registry.spec(name)
        how = settings.analysis
        segmenter = registry.load(name, device=how.device, precision=how.precision, threads=how.threads)
        return cls(segmenter=segmenter, licence=_terms(registry, spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What the student gets, and where it comes from."""

    samples: tuple[Sample, ...]
    records: tuple[DataRecord, ...]


def teach(
    recipe: Recipe,
    how: TeacherRecipe,
    teacher: Teacher,
    sets: Sequence[DataSet],
    apart: frozenset[str],
    cache: Path,
    on_sample: Callable[[], None],
) -> Lesson:
    """Label every scan of patients who are not in the labelled data, and keep the slices that rank highest.

    Raises RecipeInvalid where the teacher cannot teach the student's labels, or would teach blood as healthy.
    """
    spec = teacher.segmenter.spec
    channels = channels_of(label_map_of(spec), recipe.label_specs, f"the teacher {spec.name}")
    taught: list[Taught] = []
    records = []
    for data in sets:
        look = apart_from(data, apart, most=recipe.split.most_scans)
        used, faults = [], []
        for case in look.cases:
            try:
                one, sha256 = _label(case, recipe, how, teacher.segmenter, channels, cache)
                taught.append(one)
                used.append((case.name, sha256))
            except PermanentError as error:
                faults.append(str(error) if case.name in str(error) else f"{case.name}: {error}")
            on_sample()
        records.append(record_of(look, f"pseudo-labels of {spec.name} ({spec.digest})", used, faults))
    depth = Patches.of(recipe).sides_zyx[0]
    return Lesson(samples=keep_top(taught, how.top_share, depth=depth), records=tuple(records))


def _label(
    case: Case,
    recipe: Recipe,
    how: TeacherRecipe,
    segmenter: Segmenter,
    channels: Mapping[int, int],
    cache: Path,
) -> tuple[Taught, str]:
    spacing = recipe.model.spacing_zyx_mm
    conditions = [CACHE_VERSION, case.name, segmenter.plan.digest, list(spacing), sorted(channels.items())]
    stated = [*conditions, how.above, how.below]
    blood = [label.index for label in recipe.label_specs if label.haemorrhage]

    def make() -> dict[str, npt.NDArray[np.generic]]:
        held = volume_of(case)
        own = resample(held.volume, segmenter.spec.spacing_zyx_mm)
        said = segmenter.segment(own.grid).probabilities_czyx
        mapping = resample(held.volume, spacing)
        probabilities = np.zeros((len(recipe.labels) + 1, *mapping.grid.hu_zyx.shape), dtype=np.float32)
        for value, channel in channels.items():
            probabilities[channel] += onto(said[value], own, mapping)
        probabilities[0] = 1 - probabilities[1:].sum(axis=0)
        return {
            "hu": mapping.grid.hu_zyx.astype(np.float16),
            "labels": pseudo_labels(probabilities, blood, how),
            "scanned": mapping.grid.scanned_zyx,
            "scores": slice_scores(probabilities[blood].sum(axis=0)),
        }

    found = shelved(cache, case, stated, make)
    arrays = found.arrays
    sample = Sample.of(case.name, arrays["hu"], np.array(arrays["labels"]), arrays["scanned"])
    sha256 = hashlib.sha256(json.dumps([found.sha256, *stated, how.top_share]).encode()).hexdigest()
    return Taught(sample=sample, scores_z=np.array(arrays["scores"])), sha256


def onto(values_zyx: npt.NDArray[np.float32], own: GridMapping, other: GridMapping) -> npt.NDArray[np.float32]:
    """Return values of one grid linearly at the points of another through the same scan; ends hold their value."""
    out = values_zyx
    for axis, native in enumerate(own.native_of_zyx):
        points = other.first_mm[native] + other.spacing_mm[native] * np.arange(other.grid.hu_zyx.shape[axis])
        last = out.shape[axis] - 1
        index = np.clip((points - own.first_mm[native]) / own.spacing_mm[native], 0, last)
        low = np.minimum(index.astype(np.intp), max(last - 1, 0))
        shape = [1, 1, 1]
        shape[axis] = len(index)
        weight = (index - low).astype(np.float32).reshape(shape)
        out = out.take(low, axis=axis) * (1 - weight) + out.take(np.minimum(low + 1, last), axis=axis) * weight
    return out


def _terms(registry: Registry, spec: ModelSpec) -> Licence:
    """Return what the teacher's manifest says, else its spec: what it may be used for is then unclear."""
    path = registry.manifest(spec.name)
    if path is not None:
        stated = json.loads(path.read_text(encoding="utf-8")).get("licence")
        if isinstance(stated, dict) and stated.keys() == asdict(_unclear(spec)).keys():
            return Licence(**stated)
    return _unclear(spec)


def _unclear(spec: ModelSpec) -> Licence:
    return Licence(name=spec.licence, commercial=None, terms=f"of the teacher {spec.name}; look at its card")
