"""A written result becomes known: its rows, its deliveries, its alerts and their jobs, in the caller's one transaction.

The files lie durably on the disk before. What the catalogue already holds under the same identity is not recorded
again, so nothing goes out twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.catalogue import releases, results, views
from ichor.catalogue.records import NewDelivery, NewObject, NewResult
from worker.calling import Calling
from worker.output.naming import object_name
from worker.output.profile import profile_of
from worker.result import AnalysisResult
from worker.retraction import accession_number_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from ichor.catalogue.records import Job, ResultRow, StudyInput
    from ichor.catalogue.registration import Retraction
    from ichor.settings import Settings
    from worker.analysis import Analysis
    from worker.staging import Staging


def publish(  # noqa: PLR0913  # the parts of one transaction
    session: Session,
    analysis: Analysis,
    study_input: StudyInput,
    staging: Staging,
    settings: Settings,
    *,
    replaced: Sequence[ResultRow] = (),
    job: Job | None = None,
    provisional: bool = False,
    retraction: Retraction | None = None,
) -> int:
    """Record a result and what is to be done with it; return its id.

    A provisional one goes nowhere, but may call somebody; the same result published again as final goes everywhere.

    `replaced` are the standing results that it takes the place of, in the order in which they were recorded. It covers
    no version of the input yet: `results.cover_input` says so once every acquisition of the study has its result.

    The caller's transaction must shut out every other writer of this study's results: it holds the job's lease, or the
    study's row.
    """
    existing = results.find_result(session, analysis.identity.digest)
    if existing is not None and (provisional or not existing.provisional):
        return _take_over(session, existing, study_input, replaced, settings)
    replaced = [row for row in replaced if existing is None or row.id != existing.id]
    result = analysis.result
    old_name = None if retraction is None else accession_number_of(retraction)
    calling = Calling(session, study_input, replaced, settings, accession_number=old_name)
    place = existing.directory if existing else staging.move_into_place(analysis.out, analysis.identity)
    objects = _written_before(existing) if existing else _moved(analysis, place)
    new = NewResult(
        result_uid=analysis.identity.uid("result"),
        identity_digest=analysis.identity.digest,
        study_instance_uid=analysis.study_instance_uid,
        job_id=None if job is None else job.id,
        input_version=study_input.input_version,
        status=result.status,
        conclusion=result.conclusion,
        summary_json=result.to_json(),
        directory=place,
        model_digest=analysis.identity.model_digest,
        provisional=provisional,
        supersedes_id=replaced[-1].id if replaced else None,
        also_supersedes=tuple(row.id for row in replaced[:-1]),
        acquired_at=analysis.acquired_at,
        identity=_identity(analysis, study_input) if retraction is None else "",
        objects=objects,
        deliveries=() if provisional else _deliveries(session, analysis, objects, replaced, settings),
        alerts=calling.alerts_for(
            result,
            identity_digest=analysis.identity.digest,
            acquired_at=analysis.acquired_at,
            provisional=provisional,
        ),
    )
    result_id = results.record_result(session, new, cover=False)
    calling.withdraw_replaced()
    calling.call_for_the_silenced()
    return result_id


def _identity(analysis: Analysis, study_input: StudyInput) -> str:
    """Give in whose name the result speaks: that of the images of its series."""
    names = {
        instance.identity
        for instance in study_input.instances
        if instance.series_instance_uid == analysis.series_instance_uid
    }
    return max(names, default="")


def _take_over(
    session: Session, found: ResultRow, study_input: StudyInput, replaced: Sequence[ResultRow], settings: Settings
) -> int:
    """Let a recorded result, or what superseded it, stand in place of results whose images are gone; return its id."""
    existing = results.successor(session, found.id)
    left = [row for row in replaced if row.id != existing.id]
    if left:
        calling = Calling(session, study_input, left, settings)
        alerts = calling.alerts_for(
            AnalysisResult.from_json(existing.summary_json),
            identity_digest=existing.identity_digest,
            acquired_at=existing.acquired_at,
        )
        results.take_over(session, existing.id, [row.id for row in left])
        results.add_alerts(session, existing.id, alerts)
        calling.withdraw_replaced()
        calling.call_for_the_silenced()
    return existing.id


def cover(session: Session, result_ids: Sequence[int], study_input: StudyInput) -> None:
    """Let the results of all acquisitions of a study stand for the input that they were made from."""
    for result_id in result_ids:
        results.cover_input(session, result_id, study_input.input_version)


def _moved(analysis: Analysis, place: Path) -> tuple[NewObject, ...]:
    return tuple(
        NewObject(
            kind=written.kind,
            sop_instance_uid=written.sop_instance_uid,
            sop_class_uid=written.sop_class_uid,
            path=place / written.path.name,
            sha256=written.sha256,
        )
        for written in analysis.objects
    )


def _written_before(existing: ResultRow) -> tuple[NewObject, ...]:
    return tuple(
        NewObject(
            kind=row.kind,
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            path=row.path,
            sha256=row.sha256,
        )
        for row in existing.objects
    )


def _deliveries(
    session: Session,
    analysis: Analysis,
    objects: Sequence[NewObject],
    replaced: Sequence[ResultRow],
    settings: Settings,
) -> tuple[NewDelivery, ...]:
    """Give each destination what it asks for, in its own variant; a rejection only where there is what it rejects."""
    replaced_ids = {row.id for row in replaced}
    reached = {
        delivery.destination
        for delivery in views.study_detail(session, analysis.study_instance_uid).deliveries
        if delivery.result_id in replaced_ids and delivery.state != "held"
    }
    deliveries, on_hold = [], releases.held_names(session, settings)
    for destination in settings.destinations:
        variant = profile_of(destination).variant
        uids = frozenset(analysis.identity.uid(object_name(kind, variant)) for kind in destination.send)
        kinds = tuple(
            item.kind
            for item in objects
            if item.sop_instance_uid in uids and (item.kind != "rejection" or destination.name in reached)
        )
        if kinds:
            deliveries.append(
                NewDelivery(
                    destination=destination.name,
                    kinds=kinds,
                    sop_instance_uids=uids,
                    held=destination.name in on_hold,
                )
            )
    return tuple(deliveries)
