"""`ichor pull`."""

import os
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from console.archives import archive_of, source_named
from console.cli.display import out, print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, load
from console.cli.outcome import ExitCode
from console.pulling import Pulled, pull
from ichor.catalogue.engine import Catalogue
from ichor.errors import StudyNotFound
from ichor.peers.archive import CT_MODALITY, Wanted
from ichor.store import checked_uid
from listener.intake import receiving

SECONDS = {"m": 60, "h": 3600, "d": 86400}


def command(
    source: Annotated[
        str, typer.Option("--from", metavar="NAME", help="Which of the `sources` of the settings to fetch from.")
    ],
    study: Annotated[str | None, typer.Option(metavar="UID", help="Study Instance UID of the study to fetch.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Fetch the studies that began since: 30m, 2h, 1d.")
    ] = None,
    modality: Annotated[
        str, typer.Option(metavar="CODE", help="With --since: studies of this modality.")
    ] = CT_MODALITY,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Fetch studies from an archive: after an outage, or priors. What was only fetched raises no alert."""
    wanted = _wanted(study, since, modality)
    settings = load(config)
    chosen = source_named(settings, source)
    archive = archive_of(chosen, settings)
    os.umask(0o077)
    found = list(archive.studies(wanted))
    if wanted.study_instance_uid and not found:
        raise StudyNotFound(f"{source} has no such study.")
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with receiving(settings, catalogue) as receiver, progress_bar("Fetching") as move:
            pulled = list(
                pull(
                    archive,
                    found,
                    receiver=receiver,
                    catalogue=catalogue,
                    source_ae=getattr(chosen, "ae_title", chosen.name)[:16],
                    on_progress=move,
                )
            )
    finally:
        catalogue.close()
    if as_json:
        print_json({"source": source, "studies": [asdict(one) for one in pulled]})
    else:
        _show(pulled)
    if any(one.state in {"incomplete", "failed"} for one in pulled):
        raise typer.Exit(ExitCode.FAILED)


def _wanted(study: str | None, since: str | None, modality: str) -> Wanted:
    if (study is None) == (since is None):
        raise typer.BadParameter("give either --study or --since")
    if study is not None:
        return Wanted(study_instance_uid=checked_uid(study))
    written = re.fullmatch(r"([0-9]{1,5})([mhd])", since or "")
    if written is None:
        raise typer.BadParameter("write a time as 30m, 2h or 1d", param_hint="--since")
    ago = timedelta(seconds=int(written[1]) * SECONDS[written[2]])
    return Wanted(since=(datetime.now(tz=UTC).astimezone() - ago).replace(tzinfo=None), modality=modality)


def _show(pulled: list[Pulled]) -> None:
    if not pulled:
        out().print("No study fits.")
        return
    rows = [(one.study_instance_uid, one.state, str(one.instances), str(one.new), one.error) for one in pulled]
    print_table("Fetched", ("Study", "State", "#Instances", "#New", "Error"), rows)
