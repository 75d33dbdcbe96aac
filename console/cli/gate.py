"""`ichor gate`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import out, print_json, print_table
from console.cli.options import ConfigOption, JsonOption, check_paths, load
from console.cli.outcome import ExitCode
from ichor.errors import NotAnalysable
from worker.acquisitions import UNTIMED
from worker.gate import GateRules, Verdict, judge, load_rules
from worker.reason import Reason
from worker.second_look import Look, choose, is_partial, left_aside, look_at, other_parts
from worker.series import Study, read_studies


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files, or folders with them.")],
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say of every series whether it would be analysed.

    Headers are judged, then the voxels of what they let pass. The best series of each acquisition would be analysed;
    that of the latest stands first. Exit code 3: no series would be analysed.
    """
    load(config)
    check_paths(paths)
    studies = read_studies(paths)
    if not any(study.series or study.unreadable for study in studies):
        raise NotAnalysable("no_files", "There are no DICOM files here.")
    rules = load_rules(None)
    judged = [(study, judge_whole(study, rules)) for study in studies]
    if as_json:
        print_json([plain_study(study, looks) for study, looks in judged])
    else:
        for study, looks in judged:
            show_study(study, looks)
    if not any(judgement.fit for _study, judgements in judged for judgement in judgements):
        raise typer.Exit(ExitCode.NOT_ANALYSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One series after both looks."""

    verdict: Verdict
    fit: bool
    chosen: bool
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]


def judge_whole(study: Study, rules: GateRules) -> tuple[Judgement, ...]:
    """Judge headers, then voxels; the series that would be analysed first, and the unfit last."""
    by_uid = {series.series_instance_uid: series for series in study.series}
    ranked = [(by_uid[verdict.series_instance_uid], verdict) for verdict in judge(study, rules)]
    # The voxels of one series at a time are held; only the chosen one's warnings need more than its own look.
    looks = [replace(look_at(series, verdict, rules), volume=None) for series, verdict in ranked]
    chosen = _chosen(looks)
    judgements = [
        Judgement(
            verdict=look.verdict,
            fit=look.fit,
            chosen=any(look is one for one in chosen),
            reasons=look.reasons,
            warnings=(*look.warnings, *(left_aside(look, ranked) if any(look is one for one in chosen) else ())),
        )
        for look in looks
    ]
    return tuple(sorted(judgements, key=lambda judgement: (not judgement.chosen, not judgement.fit)))


def _chosen(looks: list[Look]) -> list[Look]:
    """Take the best series of each acquisition, or of each part of the head; without a time only where no other is."""
    chosen: list[Look] = []
    for number in sorted({look.verdict.acquisition for look in looks}, reverse=True):
        best, _refused = choose(look for look in looks if look.verdict.acquisition == number)
        if best is None or (number == UNTIMED and chosen):
            continue
        taken = [best]
        others = [(look.series, look.verdict) for look in looks if look.fit and look.verdict.acquisition == number]
        while is_partial(best) and (parts := other_parts([one.series for one in taken], others)):
            part, _refused = choose(look for look in looks if any(look.series is series for series, _ in parts))
            if part is None:
                break
            taken.append(part)
        chosen.extend(taken)
    return chosen


def plain_study(study: Study, judgements: tuple[Judgement, ...]) -> dict[str, object]:
    """Give one study's verdicts as plain values."""
    return {
        "study_instance_uid": study.study_instance_uid,
        "series": [
            {
                "series_instance_uid": judgement.verdict.series_instance_uid,
                "series_number": judgement.verdict.series_number,
                "description": judgement.verdict.description,
                "instances": judgement.verdict.instances,
                "acquisition": judgement.verdict.acquisition,
                "accepted": judgement.fit,
                "chosen": judgement.chosen,
                "reasons": [{"code": reason.code, "text": reason.text} for reason in judgement.reasons],
                "warnings": [{"code": reason.code, "text": reason.text} for reason in judgement.warnings],
            }
            for judgement in judgements
        ],
        "unreadable": [
            {"path": str(unreadable.path), "code": unreadable.code, "text": unreadable.text}
            for unreadable in study.unreadable
        ],
    }


def show_study(study: Study, judgements: tuple[Judgement, ...]) -> None:
    """Print one study's verdicts."""
    rows = [
        (
            "-" if judgement.verdict.series_number is None else str(judgement.verdict.series_number),
            judgement.verdict.description,
            str(judgement.verdict.instances),
            "chosen" if judgement.chosen else "yes" if judgement.fit else "no",
            "\n".join(reason.text for reason in (*judgement.reasons, *judgement.warnings)),
        )
        for judgement in judgements
    ]
    title = f"Study {study.study_instance_uid}" if study.study_instance_uid else "Files outside any study"
    print_table(title, ("#Series", "Description", "#Instances", "Fit", "Reasons and warnings"), rows)
    for unreadable in study.unreadable:
        out().print(f"{unreadable.path}: {unreadable.text}", markup=False)
