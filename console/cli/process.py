"""`ichor process`."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import out, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, MembersOption, ModelOption, check_paths, load
from console.cli.outcome import ExitCode
from console.outcome import alert_threshold_ml
from ichor.clock import utc_now
from ichor.errors import ModelError, PermanentError, SettingsError
from ichor.identity import ResultIdentity
from models.registry import default_registry
from worker.gate import load_rules
from worker.output.words import headline
from worker.pipeline import Analysis, Candidate, Recipe, Refusal, Run, examine, finish, read_one_study, refuse
from worker.reason import Reason
from worker.registration import registration_of
from worker.series import Study

FURTHER = "acquisition-"
OUTPUT_NAMES = ("result.json", "overlay.png", "seg.dcm", "sr.dcm", "sr-record.dcm", "summary.dcm")


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files, or folders with them.")],
    *,
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; made where missing.")],
    model: ModelOption = None,
    members: MembersOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Analyse DICOM files without a server.

    Writes result.json, overlay.png, seg.dcm, sr.dcm, sr-record.dcm and summary.dcm; no seg.dcm where nothing was
    marked. Where a study holds several acquisitions, these are of the latest; those of each other one come into a
    folder acquisition-N, numbered in order of time. Exit code 3: the study was not analysed; result.json says why.
    """
    settings = load(config)
    check_paths(paths)
    analysis_settings = settings.analysis
    registry = default_registry(settings.resolved_models_dir, os.environ)
    name = analysis_settings.model if model is None else model
    registry.spec(name)  # a wrong name is said before the files are read
    out_dir.mkdir(parents=True, exist_ok=True)
    with progress_bar("Analysing") as on_progress:
        recipe = Recipe(
            segmenter_for=lambda: registry.load(
                name,
                members=analysis_settings.members if members is None else members,
                device=analysis_settings.device,
                precision=analysis_settings.precision,
                threads=analysis_settings.threads,
            ),
            rules=load_rules(None),
            alert_min_volume_ml=alert_threshold_ml(settings),
        )
        remove_stale(out_dir)  # first: whatever is wrong with these files, nobody is to take old results for theirs
        study = read_one_study(paths)
        analyses = analyse_each(study, recipe, out_dir, on_progress)
    *earlier, main = analyses
    main = in_place(main, out_dir)
    if as_json:
        typer.echo(main.result.to_json(), nl=False)
    else:
        report(main, out_dir)
        for analysis in reversed(earlier):
            out().print("\nAn earlier scan of the same study:")
            report(analysis, analysis.out)
    raise typer.Exit(exit_code(main))


def analyse_each(
    study: Study, recipe: Recipe, out_dir: Path, on_progress: Callable[[float], None] | None
) -> tuple[Analysis, ...]:
    """Analyse every acquisition into a folder of its own, the latest last: each is compared with those before it."""
    analyses: list[Analysis] = []
    names: list[tuple[str, ...]] = []
    for found in examine(study, recipe.rules, oldest_first=True):
        number = 0 if found.acquisition is None else found.acquisition.number
        name = registration_of(found.series.header)
        before = [one.result for one, its in zip(analyses, names, strict=True) if its[:-1] == name[:-1]]
        out = _into(out_dir / f"{FURTHER}{number}")
        run = Run(out=out, now=utc_now(), on_progress=on_progress, priors=tuple(reversed(before)))
        analyses.append(analyse(study, found, recipe, run))
        names.append(name)
    return tuple(analyses)


def analyse(study: Study, found: Candidate | Refusal, recipe: Recipe, run: Run) -> Analysis:
    """Analyse one acquisition; where that fails for good, write a result that says so."""
    try:
        return finish(study, found, recipe, run)
    except (ModelError, SettingsError):
        raise  # nothing is wrong with the study
    except PermanentError as error:
        reason = Reason(code=error.code, text=str(error))
        refusal = Refusal(series=found.series, verdicts=found.verdicts, reasons=(reason,), timing_s={})
        return refuse(study, refusal, run, failed=True)


def _into(folder: Path) -> Callable[[ResultIdentity], Path]:
    return lambda _identity: folder


def in_place(main: Analysis, out_dir: Path) -> Analysis:
    """Move the files of the main result to where they are looked for."""
    for path in sorted(main.out.iterdir()):
        path.replace(out_dir / path.name)
    main.out.rmdir()
    return replace(main, out=out_dir)


def remove_stale(out_dir: Path) -> None:
    """Remove what an earlier run left: an old seg.dcm beside a new result would be read as part of it."""
    for folder in (out_dir, *out_dir.glob(f"{FURTHER}*")):
        for name in OUTPUT_NAMES:
            (folder / name).unlink(missing_ok=True)
        if folder != out_dir and not any(folder.iterdir()):
            folder.rmdir()


def exit_code(analysis: Analysis) -> ExitCode:
    """Give the exit code that belongs to the result's status."""
    by_status = {"analysed": ExitCode.DONE, "not_analysed": ExitCode.NOT_ANALYSED, "failed": ExitCode.FAILED}
    return by_status[analysis.result.status]


def report(analysis: Analysis, out_dir: Path) -> None:
    """Print the sentence, the findings and where the files are."""
    result = analysis.result
    out().print(headline(result), style="bold", markup=False)
    if result.findings:
        rows = [
            (
                finding.title,
                finding.laterality,
                f"{finding.volume_ml:.1f}",
                f"{finding.volume_range_ml[0]:.1f} to {finding.volume_range_ml[1]:.1f}",
                f"{finding.median_hu:.0f}",
                "yes" if finding.haemorrhage else "no",
            )
            for finding in result.findings
        ]
        print_table("", ("Marked", "Side", "#mL", "#Members, mL", "#Median HU", "Counts as haemorrhage"), rows)
    for warning in result.warnings:
        out().print(f"Warning: {warning.text}", markup=False)
    out().print(f"Written to {out_dir}: {', '.join(sorted({'result.json', *result.outputs.values()}))}", markup=False)
