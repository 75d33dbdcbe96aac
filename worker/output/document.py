"""A structured report round a content tree: what every Comprehensive SR says of itself, and all that it refers to.

PS3.3 A.35.3, C.17.2: complete as a document, preliminary and unverified as a statement, for no person has seen it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage

from worker.output.instance import complete

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.output.context import WriteContext
    from worker.output.naming import Kind


def build_document(ctx: WriteContext, kind: Kind, root: Dataset, further_evidence: Sequence[Dataset] = ()) -> Dataset:
    """Build the report; `further_evidence` is what the content refers to besides the source."""
    dataset = Dataset()
    dataset.SOPClassUID = ComprehensiveSRStorage
    dataset.Modality = "SR"
    dataset.CompletionFlag = "COMPLETE"
    dataset.PreliminaryFlag = "PRELIMINARY"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    evidence = [*ctx.source, *further_evidence]
    dataset.CurrentRequestedProcedureEvidenceSequence = _by_series(
        ctx, ((str(one.SeriesInstanceUID), one.SOPClassUID, one.SOPInstanceUID) for one in evidence)
    )
    replaced = [one for one in ctx.replaced_objects if one.kind == kind]
    if replaced:
        dataset.PredecessorDocumentsSequence = _by_series(
            ctx, ((one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid) for one in replaced)
        )
    for element in root:
        dataset.add(element)
    return complete(dataset, ctx, kind)


def _by_series(ctx: WriteContext, references: Iterable[tuple[str, str, str]]) -> list[Dataset]:
    """Refer to (series, SOP class, SOP instance) of this study (PS3.3 Table C.17-3, Hierarchical SOP Instance)."""
    items: defaultdict[str, list[Dataset]] = defaultdict(list)
    for series_instance_uid, sop_class_uid, sop_instance_uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        items[series_instance_uid].append(item)
    study = Dataset()
    study.StudyInstanceUID = str(ctx.source[0].StudyInstanceUID)
    study.ReferencedSeriesSequence = []
    for series_instance_uid, instances in items.items():
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = series_instance_uid, instances
        study.ReferencedSeriesSequence.append(series)
    return [study]
