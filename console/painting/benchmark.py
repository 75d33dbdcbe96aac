"""The painted part of the phantom benchmark, `OUT/painted/HEAD-NN/`, for heads that somebody has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from console.painting.study import Canvas, paint_study
from models.phantoms.lesions import PhantomInvalid
from models.phantoms.painted import painted_studies
from models.phantoms.study import TRUTH_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PART = "painted"


def write_painted(
    out: Path, heads: Sequence[Path], *, on_progress: Callable[[float], None] | None = None
) -> tuple[Path, ...]:
    """Write the part for each folder of a head, and return where its studies lie; finished ones stay.

    Raises PhantomInvalid where a study lies there that was painted into another head, or two folders have one name.
    """
    if len({head.resolve().name for head in heads}) != len(heads):
        raise PhantomInvalid("Two of the heads lie in folders of one name, by which their studies are called.")
    studies, written = painted_studies(), []
    for head in heads:
        canvas = Canvas.of(head)
        for study in studies:
            place = out / PART / f"{head.resolve().name}-{study.number:02d}"
            if not _painted(place, canvas):
                paint_study(place, canvas, study.lesions, study.seed)
            written.append(place)
            if on_progress is not None:
                on_progress(len(written) / (len(heads) * len(studies)))
    return tuple(written)


def _painted(place: Path, canvas: Canvas) -> bool:
    """Whether the study is there; its truth is written last."""
    if not (place / TRUTH_FILE).is_file():
        return False
    if json.loads((place / TRUTH_FILE).read_text(encoding="utf-8")).get("painted_into") != canvas.sha256:
        raise PhantomInvalid(f"{place} was painted into another head; choose an empty folder.")
    return True
