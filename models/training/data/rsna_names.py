"""The names of scans taken from RSNA 2019: `ID_<patient>_ID_<study>`. The patient is what splits must not divide."""

from __future__ import annotations

import re

ORIGIN = "rsna-2019"
_NAME = re.compile(r"(ID_[0-9a-f]+)_(ID_[0-9a-f]+)$")


def patient_of(name: str) -> str | None:
    """Return the patient's key; None for a name of another form."""
    match = _NAME.match(name)
    return None if match is None else f"{ORIGIN}:{match.group(1)}"
