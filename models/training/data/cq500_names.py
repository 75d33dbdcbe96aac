"""The names of CQ500's scans: `CQ500-CT-12`, `CQ500CT12 CQ500CT12`; one scan for each patient."""

from __future__ import annotations

import re

ORIGIN = "cq500"
_NAME = re.compile(r"CQ500-?CT-?(\d+)\b")


def name_of(text: str) -> str | None:
    """Return the scan's name as `reads.csv` writes it; None for a text of another form."""
    match = _NAME.match(text)
    return None if match is None else f"CQ500-CT-{int(match.group(1))}"


def patient_of(name: str) -> str:
    """Return the patient's key."""
    return f"{ORIGIN}:{name}"
