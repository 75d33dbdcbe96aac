"""What an alert says (schema 1), as the bytes that are stored once and sent as often as needed.

Never holds a name, patient ID, birth date, image, advice or score. Accession number and Study Instance UID stand in it
only where the channel is told to. The link leads to a page by the alert's own id, so it gives nothing away either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from worker.reason import Reason

if TYPE_CHECKING:
    from datetime import datetime

    from ichor.settings import AlertChannel
    from worker.eligibility import ScanTime
    from worker.result import AnalysisResult

SCHEMA_VERSION = 1
NO_RESULT = Reason(
    code="no_result", text="A later run gave no result. This does NOT exclude haemorrhage. Read as usual."
)
LESS_MARKED = Reason(
    code="less_marked",
    text="A later result marks nothing, or less than calls somebody here. This does NOT exclude haemorrhage.",
)
Event = Literal["haemorrhage_suspected", "corrected", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What an alert is about, besides the result."""

    alert_uid: str
    event: Event
    supersedes: str | None
    """The alert of the result that this one replaces."""
    scan: ScanTime
    received_at: datetime
    analysed_at: datetime
    station: str
    """AE title of this node."""
    link: str
    accession_number: str
    provisional: bool = False
    """Whether slices may still come; the final message has the same id."""


def alert_body(result: AnalysisResult, occasion: Occasion, channel: AlertChannel) -> bytes:
    """Write the body as canonical JSON: sorted keys, no spaces, UTF-8."""
    lost = [*result.reasons, NO_RESULT] if result.status != "analysed" else []
    if occasion.event == "withdrawn" and result.status == "analysed":
        lost = [LESS_MARKED]  # nobody is to read a withdrawal as an all-clear
    warnings = [*lost, *result.warnings, *([occasion.scan.warning] if occasion.scan.warning is not None else [])]
    body: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "id": occasion.alert_uid,
        "event": occasion.event,
        "provisional": occasion.provisional,
        "total_haemorrhage_ml": result.total_haemorrhage_ml,
        "findings": [
            {"label": finding.label, "volume_ml": finding.volume_ml, "laterality": finding.laterality}
            for finding in result.haemorrhages
        ],
        "warnings": [{"code": warning.code, "text": warning.text} for warning in warnings],
        "scanned_at": occasion.scan.at.isoformat(),
        "received_at": occasion.received_at.isoformat(),
        "analysed_at": occasion.analysed_at.isoformat(),
        "station": occasion.station,
        "model": None if result.model is None else {"name": result.model.name, "version": result.model.version},
        "supersedes": occasion.supersedes,
        "link": occasion.link,
        "research_use_only": True,
    }
    allowed = {
        "accession_number": occasion.accession_number,
        "study_instance_uid": result.study_instance_uid,
    }
    body |= {name: allowed[name] for name in channel.include}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
