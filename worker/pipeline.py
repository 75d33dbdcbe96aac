"""From DICOM files to a finished result: the whole story on one screen.

`read_one_study` reads, `examine` finds the best series of each acquisition that is fit, `finish` segments, measures and
writes every object of one result into a folder. Nothing is published here; the task and `ichor process` put the parts
together.

    recipe = Recipe(segmenter_for=lambda: registry.load(...), rules=load_rules(None))
    study = read_one_study([folder])
    for found in examine(study, recipe.rules):
        analysis = finish(study, found, recipe, Run(out=lambda identity: out, now=utc_now()))
        analysis.result, analysis.objects, analysis.identity, analysis.out

A study that is not fit, and one that failed, has a result too: a summary object and `result.json` (`refuse`).
`NotAnalysable` is raised only where there is nothing that a result could be filed under.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ichor.errors import NotAnalysable
from ichor.store import write_durably
from worker.acquisitions import acquisitions_of, span_of
from worker.analysis import Analysis, Candidate, Recipe, Refusal, Run
from worker.conclusion import conclude, conclude_refusal, identity_of, refusal_identity, scanned_at_of
from worker.gate import judge
from worker.grid import labels_on_slices, resample
from worker.measure import measure
from worker.members import Members
from worker.output.context import WriteContext
from worker.output.write import RESULT_NAME, write_all
from worker.reason import Reason
from worker.result import AnalysisResult
from worker.second_look import choose, is_partial, left_aside, look_at, other_parts
from worker.series import DAMAGED, read_studies
from worker.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from ichor.identity import ResultIdentity
    from worker.acquisitions import Acquisition
    from worker.gate import GateRules, Verdict
    from worker.second_look import Look
    from worker.series import Study

__all__ = ["Analysis", "Candidate", "Recipe", "Refusal", "Run", "examine", "finish", "holds_ct"]
__all__ += ["read_one_study", "refuse"]


def read_one_study(paths: Iterable[Path]) -> Study:
    """Read the only study that the files hold; raise NotAnalysable where there is none, or more than one."""
    read = read_studies(paths)
    studies = [study for study in read if study.series]
    if not studies:
        passed_over = sorted({file.text for study in read for file in study.unreadable})
        why = f" ({'; '.join(passed_over[:3])})" if passed_over else ""
        raise NotAnalysable("no_images", f"There is no readable DICOM image{why}.")
    if len(studies) > 1:
        raise NotAnalysable("several_studies", f"There are images of {len(studies)} studies; give one study at a time.")
    return studies[0]


def holds_ct(study: Study) -> bool:
    """Whether the study has a CT image, so that somebody may wait for a result."""
    return any(header.get("Modality") == "CT" for series in study.series for header in series.headers)


def examine(
    study: Study,
    rules: GateRules,
    *,
    speaks_again: Callable[[Acquisition], bool] = lambda _: False,
    on_turned_down: Callable[[Look], None] = lambda _: None,
    oldest_first: bool = False,
) -> Iterator[Candidate | Refusal]:
    """Find the best series of each acquisition, in its headers and in its content; the latest acquisition first.

    Yields a candidate for each acquisition that has a fit series (for each part of the head where series of one
    acquisition show parts that were scanned one after the other), and a refusal for each that has none although
    `speaks_again` says that something was said of it before. Where that is nothing at all, one refusal of the study.
    `on_turned_down` hears of the series that their voxels make unfit.

    Each is worked out when it is asked for: a volume is large.
    """
    watch = Stopwatch()
    with watch.lap("gate"):
        verdicts = judge(study, rules)
    acquisitions = acquisitions_of(study, verdicts)
    left_out = left_out_of(study)
    timed = [acquisition for acquisition in acquisitions if acquisition.span is not None]
    untimed = [acquisition for acquisition in acquisitions if acquisition.span is None]
    refused: list[Look] = []
    silent = True
    for acquisition in (*(reversed(timed) if oldest_first else timed), *untimed):
        if acquisition.span is None and not silent:
            continue  # of unknown time beside others: perhaps another reconstruction of theirs
        lap = Stopwatch(watch.laps_s)
        with lap.lap("volume"):
            chosen, turned_down = choose(look_at(series, verdict, rules) for series, verdict in acquisition.series)
        for look in turned_down:
            on_turned_down(look)
        if chosen is not None:
            found = _Found(
                acquisition=acquisition,
                acquisitions=acquisitions,
                verdicts=verdicts,
                rules=rules,
                left_out=left_out,
            )
            yield from found.with_other_parts(chosen, lap)
        elif speaks_again(acquisition):
            yield _refusal(turned_down[0], verdicts, timing_s=lap.laps_s, acquisition=acquisition)
        else:
            refused.extend(turned_down)
            continue
        silent = False
    if silent:
        by_uid = {look.series.series_instance_uid: look for look in refused}
        best = verdicts[0]
        series = next(one for one in study.series if one.series_instance_uid == best.series_instance_uid)
        closest = by_uid.get(best.series_instance_uid) or look_at(series, best, rules)
        yield _refusal(closest, verdicts, timing_s=watch.laps_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An acquisition in which a series is fit, among all of the study."""

    acquisition: Acquisition
    acquisitions: tuple[Acquisition, ...]
    verdicts: tuple[Verdict, ...]
    rules: GateRules
    left_out: tuple[Reason, ...]
    """What is said of the study's damaged files."""

    def with_other_parts(self, chosen: Look, lap: Stopwatch) -> Iterator[Candidate]:
        """Yield the series that was chosen and, where it shows part of a head, the best that shows another part."""
        parts = other_parts([chosen.series], self.acquisition.series) if is_partial(chosen) else []
        yield self._candidate(chosen, lap, part=bool(parts))
        taken = [chosen.series]
        while parts:
            with lap.lap("volume"):
                look, _ = choose(look_at(series, verdict, self.rules) for series, verdict in parts)
            if look is None:
                return
            yield self._candidate(look, lap, part=True)
            taken.append(look.series)
            parts = other_parts(taken, parts)

    def _candidate(self, chosen: Look, lap: Stopwatch, *, part: bool) -> Candidate:
        if chosen.volume is None or chosen.content is None:
            raise ValueError("a series that is fit has a volume and its content")
        others = [pair for one in self.acquisitions for pair in one.series]
        return Candidate(
            series=chosen.series,
            volume=chosen.volume,
            content=chosen.content,
            verdicts=self.verdicts,
            warnings=(*chosen.warnings, *self.left_out, *left_aside(chosen, others)),
            timing_s=lap.laps_s,
            # A part of the head stands for its own time alone, so that results of the other parts stand beside it.
            acquisition=replace(self.acquisition, span=span_of(chosen.series)) if part else self.acquisition,
        )


def left_out_of(study: Study) -> tuple[Reason, ...]:
    """Say that files could not be read: what they show is in no result."""
    count = sum(file.code in DAMAGED for file in study.unreadable)
    if not count:
        return ()
    text = f"{count} file{'' if count == 1 else 's'} of the study cannot be read, being cut or damaged; left out"
    return (Reason(code="files_left_out", text=text),)


def _refusal(
    closest: Look,
    verdicts: tuple[Verdict, ...],
    *,
    timing_s: Mapping[str, float],
    acquisition: Acquisition | None = None,
) -> Refusal:
    return Refusal(
        series=closest.series,
        verdicts=verdicts,
        reasons=closest.reasons,
        timing_s=timing_s,
        acquisition=acquisition,
    )


def finish(study: Study, examined: Candidate | Refusal, recipe: Recipe, run: Run) -> Analysis:
    """Segment, measure and write; or write why not."""
    if isinstance(examined, Refusal):
        return refuse(study, examined, run)
    segmenter = recipe.segmenter_for()
    identity = identity_of(examined.series, segmenter, run.generation)
    existing = run.find_existing(identity)
    if existing is not None:
        return _existing(study, examined, identity, existing, run)
    watch = Stopwatch(examined.timing_s)
    with watch.lap("model"):
        mapping = resample(examined.volume, segmenter.spec.spacing_zyx_mm)
        segmentation = segmenter.segment(mapping.grid, on_progress=run.on_progress)
    with watch.lap("measure"):
        labels_kji = labels_on_slices(mapping, examined.volume, segmentation.probabilities_czyx)
        measurement = measure(
            examined.volume,
            labels_kji,
            segmenter.spec,
            segmentation.member_volumes_ml,
            grid_volumes_ml=mapping.volumes_ml(segmentation.probabilities_czyx),
            head=examined.content.head,
            members=Members(mapping=mapping, labels_mzyx=segmentation.member_labels_mzyx),
        )
    result = conclude(
        examined, segmenter.spec, segmentation, measurement, recipe=recipe, run=run, timing_s=watch.laps_s
    )
    context = WriteContext(
        identity=identity,
        result=result,
        source=examined.series.headers,
        written_at=run.now,
        volume=examined.volume,
        labels_kji=labels_kji,
        spec=segmenter.spec,
        plan=segmentation.plan,
        measurement=measurement,
        predecessors=run.predecessors,
    )
    return _write(study, examined, context, run)


def refuse(study: Study, refusal: Refusal, run: Run, *, failed: bool = False) -> Analysis:
    """Write the result of a study that was not analysed, or whose analysis failed."""
    result = conclude_refusal(refusal, run, failed=failed)
    identity = refusal_identity(study, refusal, result.status, run.generation)
    existing = run.find_existing(identity)
    if existing is not None:
        return _existing(study, refusal, identity, existing, run)
    context = WriteContext(
        identity=identity,
        result=result,
        source=refusal.series.headers,
        written_at=run.now,
        predecessors=run.predecessors,
    )
    return _write(study, refusal, context, run)


def _write(study: Study, examined: Candidate | Refusal, context: WriteContext, run: Run) -> Analysis:
    out = run.out(context.identity)
    watch = Stopwatch(context.result.timing_s)
    with watch.lap("write"):
        objects = write_all(context, out, run.variants)
    result = replace(AnalysisResult.from_json((out / RESULT_NAME).read_bytes()), timing_s=watch.laps_s)
    write_durably(out / RESULT_NAME, [result.to_json().encode()])  # once more, now with the time that writing took
    return Analysis(
        study_instance_uid=study.study_instance_uid,
        series_instance_uid=examined.series.series_instance_uid,
        verdicts=examined.verdicts,
        identity=context.identity,
        result=result,
        measurement=context.measurement,
        objects=objects,
        out=out,
        existing=False,
        acquired_at=_acquired_at(examined),
    )


def _existing(
    study: Study, examined: Candidate | Refusal, identity: ResultIdentity, result: AnalysisResult, run: Run
) -> Analysis:
    return Analysis(
        study_instance_uid=study.study_instance_uid,
        series_instance_uid=examined.series.series_instance_uid,
        verdicts=examined.verdicts,
        identity=identity,
        result=result,
        measurement=None,
        objects=(),
        out=run.out(identity),
        existing=True,
        acquired_at=_acquired_at(examined),
    )


def _acquired_at(examined: Candidate | Refusal) -> datetime | None:
    return None if examined.acquisition is None else scanned_at_of(examined.series)
