"""What a model's grid costs: truth laid on it as for training, brought back to the slices as in service, and scored.

A network that answers with the very labels that it was taught reaches this, so it is looked at before anything is
trained. Soft answers can do a little better.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from console.benchmark.figures import Benchmark, Figure, benchmark
from console.evaluation.case_volume import volume_of
from console.training.samples import Reading, read_samples
from models.evaluation.label_map import ANY
from models.evaluation.mask_file import read_mask
from models.evaluation.overlap import overlap_of
from models.training.data.case import BadDataSet
from models.training.data.catalogue import read_data
from worker.grid import labels_on_slices, resample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.training.data.case import Case, DataSet

Spacing = tuple[float, float, float]


def measure_grid(
    folder: Path, spacings_zyx_mm: Sequence[Spacing], *, on_progress: Callable[[float], None] | None = None
) -> Benchmark:
    """Measure the Dice of any haemorrhage over the scans with blood; raise BadDataSet where none has a mask with it."""
    data = read_data(folder)
    cases = [case for case in data.cases if case.masks.mask is not None]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ichor-grid-") as cache:
        for number, spacing in enumerate(spacings_zyx_mm):
            dice = [value for case in cases if (value := _dice(data, case, spacing, Path(cache))) is not None]
            if not dice:
                raise BadDataSet(f"{data.name} holds no mask with blood that fits its scan.")
            named = " x ".join(f"{side:g}" for side in spacing)
            figures += [
                Figure(what=f"{named} mm, mean of {len(dice)} scans", value=float(np.mean(dice)), unit="Dice"),
                Figure(what=f"{named} mm, least", value=min(dice), unit="Dice"),
            ]
            if on_progress is not None:
                on_progress((number + 1) / len(spacings_zyx_mm))
    options = " ".join(f"--spacing {','.join(f'{side:g}' for side in spacing)}" for spacing in spacings_zyx_mm)
    command = f"ichor benchmark grid --data {folder.name} {options}"
    return benchmark(f"Truth of {data.name} on a grid and back", command, tuple(figures))


def _dice(data: DataSet, case: Case, spacing: Spacing, cache: Path) -> float | None:
    """Return the Dice of one scan; None where it has no blood or cannot be used."""
    if data.label_map is None or case.masks.mask is None:
        return None
    blood = data.label_map.values_of(ANY) or frozenset()
    channels = dict.fromkeys(blood, 1)
    reading = Reading(spacing_zyx_mm=spacing, label_map=data.label_map, channels=channels, cache=cache)
    found, _ = read_samples([case], reading)
    if not found or not found[0].sample.places:
        return None
    held = volume_of(case)
    mask = read_mask(case.masks.mask)
    truth_kji = np.isin(mask.labels_ijk.transpose(2, 1, 0)[held.order], list(blood))
    taught = np.eye(2, dtype=np.float32)[np.array(found[0].sample.labels_zyx)].transpose(3, 0, 1, 2)
    back_kji = labels_on_slices(resample(held.volume, spacing), held.volume, np.ascontiguousarray(taught)) > 0
    return overlap_of(back_kji, truth_kji).dice(empty="none")
