"""Everything that a result consists of, built first and then written, `result.json` last.

A folder with a `result.json` is whole; one without is not a result. What a destination asks for besides the default
objects is written beside them, under a name that says which profile it follows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ichor.store import write_durably
from worker.output.instance import to_bytes
from worker.output.naming import KINDS, file_name
from worker.output.rejection import write_rejection
from worker.output.seg import write_seg
from worker.output.sheet import draw_sheet
from worker.output.sr import write_sr
from worker.output.sr_record import write_sr_record
from worker.output.summary import write_overlay, write_summary

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from pydicom import Dataset

    from worker.output.context import WriteContext
    from worker.output.naming import Kind
    from worker.output.profile import Variant

RESULT_NAME = "result.json"
OVERLAY_NAME = "overlay.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenObject:
    """One DICOM object as it lies on the disk; `variant` is empty for a default object."""

    kind: Kind
    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    sha256: str
    variant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """One finished object, not yet on the disk."""

    kind: Kind
    variant: str
    dataset: Dataset
    content: bytes


def write_all(ctx: WriteContext, out: Path, variants: tuple[Variant, ...] = ()) -> tuple[WrittenObject, ...]:
    """Write the objects of a result, `overlay.png` and `result.json` into a folder.

    An analysed study has a summary and two reports, and a segmentation where something was marked; any other has a
    summary alone. One that replaces another has a note that rejects the other's objects. Without a single source
    header there is no study to file an object under, so there is none.

    Raises:
        GeometryError: labels and source do not lie in the same place; nothing was written.
    """
    picture = draw_sheet(ctx)
    encoded = _encode(ctx, picture, KINDS)
    for variant in variants:
        encoded += _encode(replace(ctx, profile=variant.profile), picture, variant.kinds)
    written = tuple(_write(out, one) for one in encoded)
    write_overlay(picture, out / OVERLAY_NAME)
    outputs: dict[str, str] = {"overlay": OVERLAY_NAME, "result": RESULT_NAME}
    outputs |= {one.kind: one.path.name for one in written if not one.variant}
    write_durably(out / RESULT_NAME, [ctx.result.with_outputs(outputs).to_json().encode()])
    return written


def _encode(ctx: WriteContext, picture: npt.NDArray[np.uint8], kinds: Container[Kind]) -> list[_Encoded]:
    """Build the objects of these kinds that the result has."""
    if not ctx.source:
        return []
    built: list[tuple[Kind, Dataset | None]] = []
    if ctx.result.status == "analysed":
        needs_segmentation = ctx.findings and ("seg" in kinds or "sr-record" in kinds)
        segmentation = write_seg(ctx) if needs_segmentation else None
        built.append(("seg", segmentation))
        if "sr" in kinds:
            built.append(("sr", write_sr(ctx)))
        if "sr-record" in kinds:
            built.append(("sr-record", write_sr_record(ctx, segmentation)))
    built.append(("summary", write_summary(ctx, picture)))
    built.append(("rejection", write_rejection(ctx)))
    return [
        _Encoded(kind=kind, variant=ctx.profile.variant, dataset=dataset, content=to_bytes(dataset))
        for kind, dataset in built
        if dataset is not None and kind in kinds
    ]


def _write(out: Path, one: _Encoded) -> WrittenObject:
    path = out / file_name(one.kind, one.variant)
    write_durably(path, [one.content])
    return WrittenObject(
        kind=one.kind,
        path=path,
        sop_instance_uid=str(one.dataset.SOPInstanceUID),
        sop_class_uid=str(one.dataset.SOPClassUID),
        sha256=hashlib.sha256(one.content).hexdigest(),
        variant=one.variant,
    )
