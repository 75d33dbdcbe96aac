"""The rejection note: a Key Object Selection that takes back the objects of replaced results.

IHE Imaging Object Change Management (RAD-66), TID 2010: an archive that knows it hides what is rejected, here "for
quality reasons", and keeps it. The new result lies beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument

from worker.output import codes, words
from worker.output.instance import MANUFACTURER, complete, stand_in
from worker.output.naming import series_uid, sop_uid
from worker.output.report import observer

if TYPE_CHECKING:
    from pydicom import Dataset

    from worker.output.context import WriteContext
    from worker.output.predecessor import ReplacedObject

IMAGES = frozenset({"seg", "summary"})


def write_rejection(ctx: WriteContext) -> Dataset | None:
    """Build the note; None where the result replaces nothing that was written for this profile."""
    replaced = ctx.replaced_objects
    if not replaced:
        return None
    evidence = [_reference(ctx, one) for one in replaced]
    content = KeyObjectSelection(
        document_title=codes.REJECTED_FOR_QUALITY,
        referenced_objects=evidence,
        observer_device_context=observer(),
        description=words.replaced(ctx.result),
    )
    dataset = KeyObjectSelectionDocument(
        evidence=evidence,
        content=content,
        series_instance_uid=series_uid(ctx, "rejection"),
        series_number=1,
        sop_instance_uid=sop_uid(ctx, "rejection"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        specific_character_set=None,
    )
    return complete(dataset, ctx, "rejection")


def _reference(ctx: WriteContext, replaced: ReplacedObject) -> Dataset:
    dataset = stand_in(ctx)
    dataset.SeriesInstanceUID = replaced.series_instance_uid
    dataset.SOPClassUID, dataset.SOPInstanceUID = replaced.sop_class_uid, replaced.sop_instance_uid
    if replaced.kind in IMAGES:
        dataset.Rows = dataset.Columns = 1  # by which highdicom tells images from documents
    return dataset
