"""A model of the registry over a data set: the node's own way from slices to labels, answers written as NIfTI."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.evaluation.case_volume import volume_of
from ichor.errors import PermanentError
from models.evaluation.pairing import Fault, MaskFiles, Pair, Pairing
from worker.grid import labels_on_slices, resample

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from models.segmenter import Segmenter
    from models.spec import LabelSpec
    from models.training.data.case import Case, DataSet


Cleaning = Callable[["npt.NDArray[np.uint8]", "Sequence[LabelSpec]"], "npt.NDArray[np.uint8]"]
"""Changes labels on the slices of a scan, (k, j, i), of these labels."""


class NoMasks(PermanentError):
    """The data set holds no scan with a mask."""

    code = "no_masks"


def run_model(
    data: DataSet,
    segmenter: Segmenter,
    out: Path,
    *,
    cleanings: Sequence[Cleaning] = (),
    on_progress: Callable[[float], None] | None = None,
) -> Pairing:
    """Segment every scan that has a mask and pair it; a scan that the node could not read becomes a fault.

    `cleanings` change the labels, one after another; raises ModelError where one does not fit the model.
    Beside every answer `NAME.json` states the greatest probability of blood in the scan, and the seconds taken.
    """
    cases = [case for case in data.cases if case.segmented]
    if not cases:
        why = f": {data.faults[0].text}" if data.faults else "."
        raise NoMasks(f"{data.name} holds no scan with a mask{why}")
    pairs, faults = [], list(data.faults)
    for number, case in enumerate(cases, start=1):
        try:
            pairs.append(_segment(case, segmenter, out, cleanings))
        except PermanentError as error:
            faults.append(Fault(name=case.name, code=error.code, text=f"{case.name}: {error}"))
        if on_progress is not None:
            on_progress(number / len(cases))
    return Pairing(pairs=tuple(pairs), faults=tuple(faults))


def _segment(case: Case, segmenter: Segmenter, out: Path, cleanings: Sequence[Cleaning]) -> Pair:
    started = time.monotonic()
    held = volume_of(case)
    mapping = resample(held.volume, segmenter.spec.spacing_zyx_mm)
    probabilities = segmenter.segment(mapping.grid).probabilities_czyx
    labels_kji = labels_on_slices(mapping, held.volume, probabilities)
    for clean in cleanings:
        labels_kji = clean(labels_kji, segmenter.spec.labels)
    bleeds = [label.index for label in segmenter.spec.haemorrhage_labels]
    stated = {
        "probability": min(float(probabilities[bleeds].sum(axis=0).max()), 1.0),
        "seconds": round(time.monotonic() - started, 3),
    }
    path = out / f"{case.name}.nii.gz"
    held.write_labels(path, labels_kji)
    path.with_name(f"{case.name}.json").write_text(json.dumps(stated), encoding="utf-8")
    return Pair(name=case.name, truth=case.masks, answer=MaskFiles(mask=path), image=case.image, slices=held.uneven)
