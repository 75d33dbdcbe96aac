"""`ichor replay`."""

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import out, print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, StudyArgument, load
from console.cli.outcome import ExitCode
from ichor.catalogue.engine import Catalogue
from ichor.settings import Settings
from models.registry import default_registry
from worker.analysis import Recipe
from worker.gate import load_rules
from worker.output.profile import variants_of
from worker.replay import Replay, replay
from worker.result import ALERT_MIN_VOLUME_ML, ResultModel


def command(
    uid: StudyArgument,
    *,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to keep the replayed files in; else they go.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a stored result again and compare it bit for bit.

    Nothing is recorded, sent or told. Exit code 0: identical; 1: not, or it cannot be made again.
    """
    settings = load(config)
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with tempfile.TemporaryDirectory(prefix="ichor-replay-") as scratch, progress_bar("Replaying") as on_progress:
            folder = Path(scratch) if out_dir is None else out_dir
            replayed = replay(
                catalogue,
                uid,
                lambda model: recipe_for(settings, model),
                folder,
                variants=variants_of(settings.destinations),
                on_progress=on_progress,
            )
    finally:
        catalogue.close()
    if as_json:
        print_json({**asdict(replayed), "identical": replayed.identical, "out": None if out_dir is None else out_dir})
    else:
        show(replayed)
    raise typer.Exit(ExitCode.DONE if replayed.identical else ExitCode.FAILED)


def recipe_for(settings: Settings, model: ResultModel | None) -> Recipe:
    """Take the model that a result names, whatever is configured now; where it names none, none is asked for."""
    analysis = settings.analysis
    registry = default_registry(settings.resolved_models_dir, os.environ)
    segmenter = registry.load(
        analysis.model if model is None else model.name,
        members=analysis.members if model is None else model.members,
        device=analysis.device,
        precision=analysis.precision if model is None else model.precision,
        threads=analysis.threads,
    )
    thresholds = [channel.min_volume_ml for channel in settings.finding_channels]
    return Recipe(
        segmenter_for=lambda: segmenter,
        rules=load_rules(None),
        alert_min_volume_ml=min(thresholds, default=ALERT_MIN_VOLUME_ML),
    )


def show(replayed: Replay) -> None:
    """Print the verdict and every object."""
    verdict = "identical, bit for bit" if replayed.identical else "NOT identical"
    out().print(f"The replayed result is {verdict}.", style="bold", markup=False)
    rows = [
        (item.kind, "identical" if item.identical else "differs", item.stored_sha256[:12], item.replayed_sha256[:12])
        for item in replayed.objects
    ]
    print_table("", ("Object", "", "Stored SHA-256", "Replayed SHA-256"), rows)
    if replayed.differing_keys:
        out().print(f"result.json differs in: {', '.join(replayed.differing_keys)}", markup=False)
