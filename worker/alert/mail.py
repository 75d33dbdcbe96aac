"""The words of an alert mail, from the stored body alone: what the body does not hold, the mail cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUBJECTS = {
    "haemorrhage_suspected": "SUSPECTED intracranial haemorrhage",
    "corrected": "Corrected: SUSPECTED intracranial haemorrhage",
    "withdrawn": "Alert withdrawn",
    "study_unresolved": "A study has no result",
    "study_undelivered": "A result has not arrived",
}
_TIMES = (("scanned_at", "Scanned"), ("received_at", "Received"), ("analysed_at", "Analysed"))
_NAMES = (("accession_number", "Accession number"), ("study_instance_uid", "Study"))
RESEARCH = "Research use only. Produced by an algorithm. Not reviewed."


def subject_of(said: Mapping[str, Any]) -> str:
    """Give the subject line."""
    provisional = " (provisional)" if said.get("provisional") else ""
    return f"[AI ICH (RESEARCH)] {_SUBJECTS[said['event']]}{provisional}"


def text_of(said: Mapping[str, Any]) -> str:
    """Give the text, one fact per line."""
    lines = [_SUBJECTS[said["event"]] + "."]
    lines += [
        f"{finding['label']}, {finding['laterality']}: {finding['volume_ml']:.1f} mL"
        for finding in said.get("findings", [])
    ]
    if said.get("total_haemorrhage_ml") is not None:
        lines.append(f"Total: {said['total_haemorrhage_ml']:.1f} mL")
    lines += [f"Note: {warning['text']}" for warning in said.get("warnings", [])]
    lines += [f"{word}: {said[key]}" for key, word in (*_TIMES, *_NAMES) if said.get(key)]
    if said.get("missing_at"):
        lines.append(f"Missing at: {', '.join(said['missing_at'])}")
    if said.get("state"):
        lines.append(f"State: {said['state']}")
    lines += ["", f"Open and acknowledge: {said['link']}", "", RESEARCH]
    return "\n".join(lines) + "\n"
