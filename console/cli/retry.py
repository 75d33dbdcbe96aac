"""`ichor retry`."""

from typing import Annotated

import typer

from console.cli.display import print_json
from console.cli.options import ConfigOption, JsonOption, StudyArgument, load
from console.retrying import ask_for_retry
from ichor.catalogue.engine import Catalogue


def command(
    uid: StudyArgument,
    *,
    force: Annotated[bool, typer.Option("--force", help="Make a new result even where a finished one fits.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Run the analysis of a study again."""
    settings = load(config)
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        job_id = ask_for_retry(settings, catalogue, uid, force=force)
    finally:
        catalogue.close()
    if as_json:
        print_json({"job_id": job_id, "study_instance_uid": uid})
    else:
        typer.echo(f"Job {job_id} will analyse the study.")
