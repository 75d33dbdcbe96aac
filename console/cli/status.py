"""`ichor status`."""

from typing import Annotated

import typer

from console.cli.display import print_json, print_table
from console.cli.options import ConfigOption, JsonOption, load
from console.listing import summary_of
from ichor.catalogue import views
from ichor.catalogue.engine import Catalogue


def command(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many studies at most.")] = 50,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the worklist."""
    settings = load(config)
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with catalogue.read() as session:
            studies = [summary_of(row, settings) for row in views.list_studies(session, limit=limit)]
    finally:
        catalogue.close()
    if as_json:
        print_json([{name: getattr(study, name) for name in study.__slots__} for study in studies])
        return
    rows = [
        (
            f"{study.badge}\n{study.note}".strip(),
            study.last_received_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            study.accession_number,
            study.description,
            str(study.instances),
            ", ".join(study.deliveries),
            ", ".join(study.alerts),
            study.study_instance_uid,
        )
        for study in studies
    ]
    columns = ("Result", "Last slice", "Accession", "Study", "#Slices", "Deliveries", "Alerts", "Study Instance UID")
    print_table("Worklist" if rows else "Worklist: no study has arrived yet", columns, rows)
