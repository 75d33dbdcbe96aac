"""What a model marks in heads without blood, and how often that would call somebody, by threshold.

The heads are real series that the reader vouches for, and the project's own phantoms without a lesion.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from console.benchmark.figures import Benchmark, Figure, benchmark
from models.phantoms import PhantomPlan, write_phantom
from worker.analysis import Candidate
from worker.gate import load_rules
from worker.grid import labels_on_slices, resample
from worker.measure import measure
from worker.pipeline import examine
from worker.series import read_studies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from models.segmenter import Segmenter

THRESHOLDS_ML = (0.1, 0.3, 0.5, 1.0, 2.0, 5.0)
FIRST_SEED = 90_000  # far from the seeds that phantom-demo was trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """One head without blood, and what was marked in it; None where it is not fit."""

    name: str
    marked_ml: float | None
    why_not: str = ""


def measure_negatives(
    segmenter: Segmenter,
    *,
    folders: Sequence[Path],
    heads: int,
    on_progress: Callable[[float], None] | None = None,
) -> Benchmark:
    """Segment every head below `folders`, and `heads` phantoms; count the alarms at each threshold."""
    found: list[Negative] = []
    with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
        sources = chain(((folder.name, folder) for folder in folders), phantoms(Path(scratch), heads))
        for name, folder in sources:
            found.extend(marked(name, folder, segmenter))
            if on_progress is not None:
                on_progress(min(1.0, len(found) / max(1, len(folders) + heads)))
    spec, members = segmenter.spec, len(segmenter.plan.members)
    shown = " ".join(f"--data {folder.name}" for folder in folders)
    command = f"ichor benchmark negatives --model {spec.name} --members {members} --heads {heads} {shown}".rstrip()
    title = f"{spec.name}, {members} members, on heads without blood"
    return benchmark(title, command, (*(_figure(one) for one in found), *alarms(found)))


def phantoms(folder: Path, heads: int) -> Iterator[tuple[str, Path]]:
    """Write one phantom after the other, each when it is asked for."""
    for seed in range(FIRST_SEED, FIRST_SEED + heads):
        out = folder / str(seed)
        write_phantom(out, PhantomPlan(seed=seed))
        yield f"phantom {seed}", out / "dicom"


def marked(name: str, folder: Path, segmenter: Segmenter) -> Iterator[Negative]:
    """Segment each acquisition of each study in a folder; say why where one is not fit."""
    rules = load_rules(None)
    for study in read_studies([folder]):
        if not study.series:
            continue
        for found in examine(study, rules):
            if not isinstance(found, Candidate):
                yield Negative(name=name, marked_ml=None, why_not="; ".join(one.text for one in found.reasons))
                continue
            mapping = resample(found.volume, segmenter.spec.spacing_zyx_mm)
            segmentation = segmenter.segment(mapping.grid)
            probabilities = segmentation.probabilities_czyx
            measurement = measure(
                found.volume,
                labels_on_slices(mapping, found.volume, probabilities),
                segmenter.spec,
                segmentation.member_volumes_ml,
                grid_volumes_ml=mapping.volumes_ml(probabilities),
                head=found.content.head,
            )
            yield Negative(name=name, marked_ml=measurement.total_haemorrhage_ml)


def alarms(found: Sequence[Negative]) -> tuple[Figure, ...]:
    """Count the heads that would call somebody, per 100, at each threshold."""
    volumes = [one.marked_ml for one in found if one.marked_ml is not None]
    if not volumes:
        return ()
    return tuple(
        Figure(
            what=f"alarms from {threshold_ml:g} mL, of {len(volumes)} heads",
            value=100.0 * sum(volume_ml >= threshold_ml for volume_ml in volumes) / len(volumes),
            unit="per 100",
        )
        for threshold_ml in THRESHOLDS_ML
    )


def _figure(one: Negative) -> Figure:
    if one.marked_ml is None:
        return Figure(what=f"{one.name}: not analysed, {one.why_not}", value=0.0, unit="-")
    return Figure(what=f"{one.name}: marked", value=one.marked_ml, unit="mL")
