"""The sentences that people read, and nothing else in their place.

Every text is ASCII: it goes into DICOM values whose character set belongs to the source, and into pictures.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.result import AnalysisResult, Replaced, ResultFinding

SERIES_DESCRIPTION = "AI ICH (RESEARCH) - NOT REVIEWED"
RESEARCH_USE = "Research use only. Produced by an algorithm, not reviewed."
NONE_MARKED = (
    "No region marked. This does NOT exclude haemorrhage; small, isodense or subarachnoid blood may be missed."
)
LONGEST_LABEL = 64  # PS3.5 Table 6.2-1: LO


def headline(result: AnalysisResult) -> str:
    """Say the result in the words of the contract."""
    if result.status != "analysed":
        return f"NOT ANALYSED - no result. Reason: {reasons(result)}. Read as usual."
    if result.conclusion == "none_marked":
        return NONE_MARKED
    if not result.alert:
        return f"Small region marked, {total(result)}, below alert threshold. No alert sent."
    return (
        f"SUSPECTED intracranial haemorrhage, marked by algorithm. {findings(result)}; total {total(result)}. "
        f"{source(result)}. Research use only. Not reviewed."
    )


def status(result: AnalysisResult) -> str:
    """Give the two or three words that stand largest on the picture."""
    if result.status != "analysed":
        return "NOT ANALYSED" if result.status == "not_analysed" else "NOT ANALYSED (FAILED)"
    if result.conclusion == "none_marked":
        return "NO REGION MARKED"
    return "SUSPECTED" if result.alert else "SMALL REGION MARKED"


def replaced(result: AnalysisResult) -> str | None:
    """Say which result this one replaces; None where it replaces none."""
    previous = result.replaces
    if previous is None:
        return None
    at = previous.written_at.astimezone(result.written_at.tzinfo)
    return (
        f"REPLACES result of {at:%H:%M} ({previous.slices} -> {result.slices} slices): "
        f"{_before(previous)} -> {_after(result)}."
    )


def reasons(result: AnalysisResult) -> str:
    """Join the reasons into the middle of a sentence; a failure says that it is one."""
    joined = "; ".join(_inside(reason.text) for reason in result.reasons)
    return joined if result.status == "not_analysed" else f"the analysis failed: {joined}"


def findings(result: AnalysisResult) -> str:
    """List the haemorrhages, the first with a capital; a title that is a phrase of its own keeps its capital."""
    phrases = [finding(found) for found in result.haemorrhages]
    return "; ".join([phrases[0], *(phrase if "," in phrase else _lowered(phrase) for phrase in phrases[1:])])


def finding(found: ResultFinding) -> str:
    """Name one finding with its side and volume, with a capital."""
    amount = volume(found.volume_ml, at_least=found.touches_edge)
    side = "side not determined" if found.laterality == "undetermined" else found.laterality
    if "," in found.title or found.laterality == "undetermined":
        return plain(f"{found.title}, {side}, {amount}")
    return plain(f"{side.capitalize()} {_lowered(found.title)} {amount}")


def total(result: AnalysisResult) -> str:
    """Give the total of haemorrhage; a lower bound as soon as one finding is cut by the end of the scan."""
    total_ml = result.total_haemorrhage_ml
    return volume(
        0.0 if total_ml is None else total_ml,
        at_least=any(found.touches_edge for found in result.haemorrhages),
    )


def volume(volume_ml: float, *, at_least: bool = False) -> str:
    """Give millilitres with one decimal; what would round to nothing is said to be less than 0.1 mL."""
    amount = "less than 0.1 mL" if 0 < volume_ml < 0.05 else f"{volume_ml:.1f} mL"
    return f"at least {amount}" if at_least else amount


def source(result: AnalysisResult) -> str:
    """Name series, slices and coverage."""
    series = "Series without number" if result.series_number is None else f"Series {result.series_number}"
    covered = result.coverage is not None and result.coverage.whole_head
    return f"{series}, {result.slices} slices, {'whole head' if covered else 'part of the head'}"


def short_title(title: str) -> str:
    """Cut a label's title to what a DICOM label holds, before its bracket where it has one."""
    text = plain(title)
    return text if len(text) <= LONGEST_LABEL else text.split(" (")[0][:LONGEST_LABEL].rstrip()


def plain(text: str) -> str:
    """Bring a text to ASCII; what has no counterpart becomes a question mark."""
    decomposed = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return decomposed.encode("ascii", "replace").decode("ascii")


def _before(previous: Replaced) -> str:
    return "not analysed" if previous.total_haemorrhage_ml is None else f"{previous.total_haemorrhage_ml:.1f}"


def _after(result: AnalysisResult) -> str:
    return "not analysed" if result.total_haemorrhage_ml is None else total(result)


def _inside(text: str) -> str:
    return _lowered(plain(text).strip().rstrip("."))


def _lowered(text: str) -> str:
    """Lower the first letter, unless the word is an abbreviation."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
