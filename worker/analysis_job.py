"""One analysis job: from a study in the spool to a published result, and the result of one that failed.

An early look (`job.final` is False) at a study in which nothing is fit yet ends quietly. A study without any CT image,
such as our own objects that a PACS routed back, never gets a result. What an unsettled series gives is provisional: it
may alert, and is delivered when the series has settled, without being computed again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import early, inputs, intake, jobs, registration, results, verdicts, views
from ichor.clock import utc_now
from ichor.errors import LeaseLost, NotAnalysable, PermanentError
from worker.acquisitions import acquisitions_of
from worker.closure import looks_closed
from worker.disposition import StopAsked
from worker.gate import judge
from worker.generation import UNFORCED, generation_of, next_generation
from worker.output.predecessor import predecessors_of
from worker.output.profile import variants_of
from worker.pipeline import Candidate, Refusal, Run, examine, finish, holds_ct, read_one_study, refuse
from worker.priors import priors_of
from worker.publish import cover, publish
from worker.reason import Reason
from worker.registration import SEVERAL_NAMES
from worker.result import AnalysisResult
from worker.retraction import is_withdrawal, settings_for, withdraw
from worker.staging import Staging
from worker.standing import replaced_by, still_told, without_acquisition
from worker.verdicts import Verdicts

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.orm import Session

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import InstanceRow, Job, ResultRow, StudyDetail, StudyInput
    from ichor.identity import ResultIdentity
    from ichor.metrics import NodeMetrics
    from ichor.settings import Settings
    from ichor.store import Store
    from worker.acquisitions import Acquisition
    from worker.analysis import Analysis
    from worker.lease import Lease
    from worker.pipeline import Recipe
    from worker.series import Study

NO_CT = {"code": "no_ct", "text": "the study holds no CT image"}

log = structlog.get_logger(__name__)


class AnalysisJob:
    """Runs jobs of kind `analyse`."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: Store,
        settings: Settings,
        recipe: Recipe,
        *,
        stop: threading.Event,
        metrics: NodeMetrics,
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._settings = settings
        self._recipe = recipe
        self._stop = stop
        self._metrics = metrics

    def run(self, job: Job, lease: Lease) -> None:
        """Analyse and publish each acquisition, the latest first; then what they cover, and the job's end, as one."""
        published = self._withdraw_outdated(job, lease)
        study_input = self._input(job.study_instance_uid)
        said = Verdicts()
        for study, found in self._examined(study_input, job, said) if study_input.instances else ():
            said.note(found)
            try:
                published.append(self._publish(study, found, study_input, job, lease))
            except PermanentError:
                if found.series.series_instance_uid not in study_input.released:
                    raise
                # What is to be said of it is said when it has settled.
                log.info("early_look_failed", **job.log_context())
        with self._catalogue.write() as session:
            self._check_lease(session, job)
            if job.final and not study_input.instances:
                # What was said of it stands, or was withdrawn.
                published = [row.id for row in results.standing_results(session, job.study_instance_uid)]
            cover(session, published, study_input)
            verdicts.record_verdicts(session, job.study_instance_uid, said.of_series())
            jobs.finish(session, job.id, job.lease_owner)
            if job.final and not published and not study_input.released:
                intake.mark_study(session, job.study_instance_uid, "not_analysed", NO_CT)
        if not published:
            log.info("nothing_fit_yet", **job.log_context())

    def publish_failure(self, study_instance_uid: str, reason: Reason, *, traceback: str = "") -> None:
        """Write and record a result that says "failed" for each acquisition that nothing true is said of.

        Needs nothing but the headers. Something is always said, of the latest acquisition where all have results.
        The timeline gets the traceback that a dead worker left.
        """
        detail = {"code": reason.code, "traceback": traceback} if traceback else None
        study_input = self._input(study_instance_uid)
        study = read_one_study([instance.path for instance in study_input.instances])
        if not holds_ct(study):
            return
        judged = judge(study, self._recipe.rules)
        acquisitions = acquisitions_of(study, judged)
        with self._catalogue.read() as session:
            standing = results.standing_results(session, study_instance_uid)
        silent = [one for one in acquisitions if one.span is not None and not still_told(standing, one)]
        for acquisition in silent or acquisitions[:1] or (None,):
            best = judged[0].series_instance_uid if acquisition is None else acquisition.best.series_instance_uid
            series = next(series for series in study.series if series.series_instance_uid == best)
            refusal = Refusal(series=series, verdicts=judged, reasons=(reason,), timing_s={}, acquisition=acquisition)
            with Staging(self._store) as staging:
                run, replaced = self._run(staging, study_input, refusal, acquisitions, lambda _: UNFORCED)
                analysis = refuse(study, refusal, run, failed=True)
                with self._catalogue.write() as session:
                    intake.mark_study(session, study_instance_uid, "failed", detail)  # one writer at a time
                    publish(session, analysis, study_input, staging, self._settings, replaced=replaced)
        with self._catalogue.write() as session:
            told = [row.id for row in results.standing_results(session, study_instance_uid)]
            cover(session, told, study_input)

    def _examined(
        self, study_input: StudyInput, job: Job, said: Verdicts
    ) -> Iterator[tuple[Study, Candidate | Refusal]]:
        """Read and judge; an unsettled series counts only for a study without a result, and where it looks closed."""
        released = study_input.released
        if released:
            with self._catalogue.read() as session:
                first = not early.has_result(session, study_input.study_instance_uid)
            found = next(self._examined_of(study_input, study_input.instances, job, said), None) if first else None
            if found is not None and isinstance(found[1], Candidate):
                series_instance_uid = found[1].series.series_instance_uid
                if series_instance_uid in released and looks_closed(found[1]):
                    yield found
                    return
        settled = [row for row in study_input.instances if row.series_instance_uid not in released]
        if settled or not released:
            yield from self._examined_of(study_input, settled, job, said)

    def _examined_of(
        self, study_input: StudyInput, instances: Sequence[InstanceRow], job: Job, said: Verdicts
    ) -> Iterator[tuple[Study, Candidate | Refusal]]:
        """Give what is found in these instances; nothing where there is nothing to say, or nothing yet."""
        try:
            study = read_one_study([instance.path for instance in instances])
        except NotAnalysable:
            if job.final:
                raise
            return
        with self._catalogue.read() as session:
            standing = results.standing_results(session, study_input.study_instance_uid)

        def speaks_again(acquisition: Acquisition) -> bool:
            told = any(row.acquired_at is not None for row in replaced_by(standing, acquisition.span))
            return job.final and acquisition.span is not None and told

        found_each = examine(study, self._recipe.rules, speaks_again=speaks_again, on_turned_down=said.turn_down)
        for examined in found_each:
            found = _of_one_name(examined, study_input) if isinstance(examined, Candidate) else examined
            if isinstance(found, Refusal) and not (job.final and holds_ct(study)):
                return
            yield study, found

    def _publish(
        self, study: Study, found: Candidate | Refusal, study_input: StudyInput, job: Job, lease: Lease
    ) -> int:
        """Analyse what was found and publish it; return the result's id."""
        with Staging(self._store) as staging:
            acquisitions = acquisitions_of(study, found.verdicts)
            run, replaced = self._run(staging, study_input, found, acquisitions, partial(generation_of, job))
            run = replace(run, on_progress=self._progress(lease))
            analysis = finish(study, found, self._recipe, run)
            if analysis.existing and self._spoke_in_another_name_since(analysis):
                again, replaced = self._run(staging, study_input, found, acquisitions, next_generation)
                analysis = finish(study, found, self._recipe, replace(again, on_progress=run.on_progress))
            lease.check()
            with self._catalogue.write() as session:
                self._check_lease(session, job)
                provisional = self._is_early(session, study_input, found)
                result_id = publish(
                    session,
                    analysis,
                    study_input,
                    staging,
                    self._settings,
                    replaced=replaced,
                    job=job,
                    provisional=provisional,
                )
        if not analysis.existing:
            for stage, seconds in analysis.result.timing_s.items():
                self._metrics.stage_seconds.labels(stage).observe(seconds)
        event = "result_found" if analysis.existing else "result_published"
        timing_s = dict(analysis.result.timing_s)
        log.info(event, status=analysis.result.status, provisional=provisional, timing_s=timing_s, **job.log_context())
        return result_id

    def _withdraw_outdated(self, job: Job, lease: Lease) -> list[int]:
        """Withdraw the standing results whose images name somebody else by now; return what the study ends in."""
        with self._catalogue.read() as session:
            outdated = registration.retractions(session, job.study_instance_uid)
        ends_in = []
        for retraction in outdated:
            with Staging(self._store) as staging:
                run = Run(
                    out=staging.folder_for,
                    now=utc_now().astimezone(),
                    generation=retraction.result.id,  # one withdrawal for each result
                    previous=AnalysisResult.from_json(retraction.result.summary_json),
                    variants=variants_of(self._settings.destinations),
                )
                analysis = withdraw(retraction, self._recipe.rules, run)
                lease.check()
                study_input = self._input(job.study_instance_uid)
                with self._catalogue.write() as session:
                    self._check_lease(session, job)
                    result_id = publish(
                        session,
                        analysis,
                        study_input,
                        staging,
                        settings_for(retraction, self._settings),
                        replaced=(retraction.result,),
                        job=job,
                        retraction=retraction,
                    )
            log.warning("result_withdrawn", **job.log_context())
            if retraction.study_is_empty:
                ends_in.append(result_id)
        return ends_in

    def _spoke_in_another_name_since(self, analysis: Analysis) -> bool:
        """Whether a finished result was replaced because its images named somebody else in between."""
        with self._catalogue.read() as session:
            found = results.find_result(session, analysis.identity.digest)
            standing = None if found is None else results.successor(session, found.id)
        return found is not None and standing is not None and found.identity != standing.identity

    def _is_early(self, session: Session, study_input: StudyInput, found: Candidate | Refusal) -> bool:
        """Whether the series had not settled when it was looked at, and has not settled yet."""
        uid = found.series.series_instance_uid
        return uid in study_input.released and not early.has_settled(session, study_input.study_instance_uid, uid)

    def _check_lease(self, session: Session, job: Job) -> None:
        if not jobs.renew(session, job.id, job.lease_owner, self._settings.jobs.lease_ttl_s):
            raise LeaseLost

    def _input(self, study_instance_uid: str) -> StudyInput:
        with self._catalogue.read() as session:
            return inputs.study_input(session, study_instance_uid)

    def _run(
        self,
        staging: Staging,
        study_input: StudyInput,
        found: Candidate | Refusal,
        acquisitions: Sequence[Acquisition],
        generation: Callable[[StudyDetail], int],
    ) -> tuple[Run, tuple[ResultRow, ...]]:
        """Give what this run needs to know of the results before it, and those that its result replaces."""
        span = None if found.acquisition is None else found.acquisition.span
        with self._catalogue.read() as session:
            detail = views.study_detail(session, study_input.study_instance_uid)
            standing = tuple(row for row in detail.results if row.superseded_by_id is None)
            awaited = frozenset(one.series_instance_uid for one in detail.series if one.state != "settled")
            gone = without_acquisition(standing, acquisitions, awaited=awaited)
            replaced = replaced_by(standing, span, gone=gone)
            priors = priors_of(session, found.series.header, span)
        final = [row for row in replaced if not row.provisional]
        run = Run(
            out=staging.folder_for,
            now=utc_now().astimezone(),
            generation=generation(detail),
            find_existing=self._find_existing,
            previous=AnalysisResult.from_json(final[-1].summary_json) if final else None,
            priors=priors,
            predecessors=predecessors_of([row for row in replaced if not is_withdrawal(row)]),
            variants=variants_of(self._settings.destinations),
        )
        return run, replaced

    def _find_existing(self, identity: ResultIdentity) -> AnalysisResult | None:
        with self._catalogue.read() as session:
            row = results.find_result(session, identity.digest)
        return None if row is None else AnalysisResult.from_json(row.summary_json)

    def _progress(self, lease: Lease) -> Callable[[float], None]:
        def on_progress(_done: float) -> None:
            lease.check()
            if self._stop.is_set():
                raise StopAsked

        return on_progress


def _of_one_name(found: Candidate, study_input: StudyInput) -> Candidate | Refusal:
    """Refuse a series whose images name different people; say so where some were left out for an outdated name."""
    names = {
        instance.identity
        for instance in study_input.instances
        if instance.series_instance_uid == found.series.series_instance_uid and instance.identity
    }
    if len(names) > 1:
        return Refusal(
            series=found.series,
            verdicts=found.verdicts,
            reasons=(SEVERAL_NAMES,),
            timing_s=found.timing_s,
            acquisition=found.acquisition,
        )
    if not study_input.outdated:
        return found
    text = f"{study_input.outdated} images of an outdated registration were left out"
    return replace(found, warnings=(*found.warnings, Reason(code="outdated_registration", text=text)))
