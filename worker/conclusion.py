"""From measures to what is said: the result of an analysis, and what a result is identified by.

A subset of a model's members may state "none marked" only where the model's spec records its validation; without it a
study in which nothing was marked is not analysed, and one in which something was marked calls nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.identity import ResultIdentity
from worker.acquisitions import span_of
from worker.analysis import Refusal
from worker.output.attributes import StudyAttributes
from worker.reason import Reason
from worker.result import ResultModel, ResultSource, analysed, not_analysed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from models.segmenter import Segmentation, Segmenter
    from models.spec import ModelSpec
    from worker.analysis import Candidate, Recipe, Run
    from worker.findings import Measurement
    from worker.result import AnalysisResult
    from worker.series import Series, Study

WRITER_VERSION = "4"
"""Part of every result's identity: raise it with any change to what the objects hold."""
MEMBERS_NOT_VALIDATED = "members_not_validated"


def identity_of(series: Series, segmenter: Segmenter, generation: int) -> ResultIdentity:
    """Identify the result that this series gives with this model."""
    return ResultIdentity(
        source_sop_instance_uids=tuple(str(header.SOPInstanceUID) for header in series.headers),
        attributes_digest=StudyAttributes.of(series.header).digest,
        model_digest=segmenter.spec.digest,
        plan_digest=segmenter.plan.digest,
        writer_version=WRITER_VERSION,
        generation=generation,
    )


def refusal_identity(study: Study, refusal: Refusal, status: str, generation: int) -> ResultIdentity:
    """Identify the statement that there is no analysis: all that came in, of the acquisition or the study, and why."""
    spoken_of = study.series if refusal.acquisition is None else [one for one, _ in refusal.acquisition.series]
    return ResultIdentity(
        source_sop_instance_uids=tuple(str(header.SOPInstanceUID) for series in spoken_of for header in series.headers),
        attributes_digest=StudyAttributes.of(refusal.series.header).digest,
        model_digest="",
        plan_digest=":".join([status, *(reason.code for reason in refusal.reasons)]),
        writer_version=WRITER_VERSION,
        generation=generation,
    )


def conclude(
    candidate: Candidate,
    spec: ModelSpec,
    segmentation: Segmentation,
    measurement: Measurement,
    *,
    recipe: Recipe,
    run: Run,
    timing_s: Mapping[str, float],
) -> AnalysisResult:
    """Say what the measures mean."""
    members = segmentation.plan.members
    warnings = candidate.warnings
    if not spec.is_validated(members):
        text = f"Only {len(members)} of the model's {len(spec.members)} members ran, a subset that is not validated."
        unproven = Reason(code=MEMBERS_NOT_VALIDATED, text=text)
        if not any(finding.haemorrhage for finding in measurement.findings):
            refusal = Refusal(
                series=candidate.series,
                verdicts=candidate.verdicts,
                reasons=(unproven,),
                timing_s=timing_s,
                acquisition=candidate.acquisition,
            )
            return conclude_refusal(refusal, run, failed=False)
        warnings = (*warnings, unproven)
    model = ResultModel(
        name=spec.name,
        version=spec.version,
        digest=spec.digest,
        members=len(members),
        precision=segmentation.plan.precision,
        device=segmentation.device,
        fallbacks=segmentation.fallbacks,
    )
    return analysed(
        _source(candidate.series, slices=len(candidate.volume.slices)),
        measurement,
        model,
        written_at=run.now,
        warnings=warnings,
        replaces=run.previous,
        scanned_at=scanned_at_of(candidate.series),
        priors=run.priors,
        timing_s=timing_s,
        alert_min_volume_ml=recipe.alert_min_volume_ml,
    )


def scanned_at_of(series: Series) -> datetime | None:
    """Give when the last slice was acquired, as the header says; aware."""
    span = span_of(series)
    return None if span is None else span.end


def conclude_refusal(refusal: Refusal, run: Run, *, failed: bool) -> AnalysisResult:
    """Say that there is no analysis, and why."""
    return not_analysed(
        _source(refusal.series, slices=len(refusal.series.slices)),
        refusal.reasons,
        written_at=run.now,
        status="failed" if failed else "not_analysed",
        replaces=run.previous,
        scanned_at=scanned_at_of(refusal.series),
        timing_s=refusal.timing_s,
    )


def _source(series: Series, *, slices: int) -> ResultSource:
    return ResultSource(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        series_number=series.number,
        source_instances=len(series.headers),
        slices=slices,
    )
