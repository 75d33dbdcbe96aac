"""`ichor study`."""

import json
from typing import Any

from console.cli.display import out, print_json, print_table
from console.cli.options import ConfigOption, JsonOption, StudyArgument, load
from console.listing import report_of
from ichor.catalogue import views
from ichor.catalogue.engine import Catalogue
from worker.output.words import headline
from worker.result import AnalysisResult


def command(uid: StudyArgument, *, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one study's timeline, findings and deliveries."""
    settings = load(config)
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with catalogue.read() as session:
            report = report_of(views.study_detail(session, uid), settings)
    finally:
        catalogue.close()
    if as_json:
        print_json(report)
    else:
        show(report)


def show(report: dict[str, Any]) -> None:
    """Print what the study's page shows."""
    study = report["study"]
    out().print(f"{study['badge']} {study['note']}".strip(), style="bold", markup=False)
    findings = (report["result"] or {}).get("findings", [])
    if findings:
        rows = [(found["title"], found["laterality"], f"{found['volume_ml']:.1f}") for found in findings]
        print_table("Findings", ("Marked", "Side", "#mL"), rows)
    for reason in (report["result"] or {}).get("reasons", []):
        out().print(f"Reason: {reason['text']}", markup=False)
    for other in report["further"]:
        text = headline(AnalysisResult.from_json(json.dumps(other)))
        out().print(f"Another scan, {other.get('scanned_at') or 'of unknown time'}: {text}", markup=False)
    if report["deliveries"]:
        sent = [
            (
                str(entry["id"]),
                entry["destination"],
                entry["state"],
                ", ".join(f"{part['kind']} {part['state']}" for part in entry["objects"]),
                entry["error"],
            )
            for entry in report["deliveries"]
        ]
        print_table("Deliveries", ("#No.", "To", "State", "Objects", "Said"), sent)
    for entry in report["deliveries"]:
        if entry["resendable"]:
            place = f"/api/studies/{study['study_instance_uid']}/deliveries/{entry['id']}/resend"
            text = f"Delivery {entry['id']} can be sent again by a user: POST {place}"
            out().print(text, markup=False, soft_wrap=True)
    if report["alerts"]:
        calls = [
            (entry["channel"], entry["event"], entry["state"], entry["acknowledged_by"], entry["error"])
            for entry in report["alerts"]
        ]
        print_table("Alerts", ("Channel", "Event", "State", "Acknowledged by", "Said"), calls)
    timeline = [(entry["at"], f"{entry['subject']} {entry['name']}") for entry in report["timeline"]]
    print_table("Timeline", ("When", "What"), timeline)
