"""The report for the record: TID 1500 with one TID 1411 group per segment, and one TID 1501 group of the study.

It holds everything that was measured: presence and total; per finding the volume with the members' range, axes,
density, ABC/2, the side as a code and in words; and what to be careful about. Some viewers crash on it,
so it is sent only where asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom.sr import (
    CodeContentItem,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)

from worker.output import codes, words
from worker.output.document import build_document
from worker.output.report import (
    algorithm,
    comment,
    measurement_root,
    name_private_scheme,
    site,
    tracking,
)

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, ContentSequence
    from pydicom import Dataset

    from worker.findings import Finding
    from worker.output.context import WriteContext


def write_sr_record(ctx: WriteContext, segmentation: Dataset | None) -> Dataset:
    """Build the full report; `segmentation` is the SEG of the same result, None where nothing was marked."""
    groups: list[ContentSequence] = [_study_group(ctx)]
    evidence: list[Dataset] = []
    if segmentation is not None:
        groups += [_group(ctx, segmentation, number, found) for number, found in enumerate(ctx.findings, start=1)]
        evidence.append(segmentation)
    dataset = build_document(ctx, "sr-record", measurement_root(ctx, groups), evidence)
    name_private_scheme(dataset)
    return dataset


def _study_group(ctx: WriteContext) -> MeasurementsAndQualitativeEvaluations:
    """Say for the study whether haemorrhage is present; where nothing is marked that stays open, without a total."""
    suspected = ctx.result.conclusion == "suspected"
    total_ml = ctx.result.total_haemorrhage_ml
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=ctx.identity.uid("tracking-study"), identifier="Ichor study"),
        finding_type=codes.INTRACRANIAL_HAEMORRHAGE,
        finding_sites=[FindingSite(codes.INTRACRANIAL)],
        algorithm_id=algorithm(ctx),
        measurements=[_number(codes.VOLUME, total_ml, codes.MILLILITRE)] if suspected and total_ml is not None else [],
        qualitative_evaluations=[
            QualitativeEvaluation(codes.PRESENCE, codes.PRESENT if suspected else codes.INDETERMINATE)
        ],
    )


def _group(
    ctx: WriteContext, segmentation: Dataset, number: int, finding: Finding
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    group = VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(ctx, finding),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(ctx.source[0].SeriesInstanceUID),
        ),
        finding_type=codes.concept(ctx.label_of(finding).finding),
        finding_sites=[site(ctx, finding)],
        algorithm_id=algorithm(ctx),
        measurements=_measurements(finding),
    )
    container = group[0]
    if finding.laterality in codes.SIDES:
        container.ContentSequence.append(
            CodeContentItem(name=codes.LATERALITY, value=codes.SIDES[finding.laterality], relationship_type="CONTAINS")
        )
    for text in _texts(ctx, finding):
        container.ContentSequence.append(comment(text))
    return group


def _measurements(finding: Finding) -> list[Measurement]:
    least_ml, most_ml = finding.volume_range_ml
    return [
        Measurement(codes.VOLUME, round(finding.volume_ml, 3), codes.MILLILITRE, method=codes.SUM_OF_VOXELS),
        _number(codes.LEAST_OF_MEMBERS, least_ml, codes.MILLILITRE),
        _number(codes.MOST_OF_MEMBERS, most_ml, codes.MILLILITRE),
        _number(codes.LONG_AXIS, finding.long_axis_mm, codes.MILLIMETRE),
        _number(codes.SHORT_AXIS, finding.short_axis_mm, codes.MILLIMETRE),
        Measurement(codes.ATTENUATION, round(finding.median_hu, 1), codes.HOUNSFIELD, derivation=codes.MEDIAN),
        _number(codes.SHARE_ABOVE_100_HU, finding.share_above_100_hu, codes.ONE),
        _number(codes.COMPONENTS, finding.components, codes.ONE),
        *_agreement(finding),
        *([] if finding.abc2_ml is None else [_number(codes.ABC2, finding.abc2_ml, codes.MILLILITRE)]),
    ]


def _agreement(finding: Finding) -> list[Measurement]:
    """Give the agreement on the largest part, where the members were asked; the words name the other parts'."""
    agreeing = finding.parts[0].members_agreeing if finding.parts else None
    return [] if agreeing is None else [_number(codes.MEMBERS_AGREEING, agreeing, codes.ONE)]


def _number(name: CodedConcept, value: float, unit: CodedConcept) -> Measurement:
    return Measurement(name, round(float(value), 3), unit)


def _texts(ctx: WriteContext, finding: Finding) -> list[str]:
    found = next(item for item in ctx.result.findings if item.label == finding.label)
    texts = [f"{words.finding(found)}."]
    agreeing = [str(part.members_agreeing) for part in finding.parts if part.members_agreeing is not None]
    if agreeing and ctx.plan is not None:
        count = len(ctx.plan.members)
        texts.append(f"Of {count} members these many mark each part alike, largest part first: {', '.join(agreeing)}.")
    if not finding.haemorrhage:
        texts.append("Not haemorrhage: in no total and in no alert.")
    if finding.touches_edge:
        texts.append("Cut by the end of the scan: the volume is a lower bound.")
    return texts
