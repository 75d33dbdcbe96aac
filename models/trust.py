"""What somebody has vouched for: loading a torch.export program can run code, so nothing loads one unasked.

`trust.json` in the model's folder names the SHA-256 of each file that a person allowed with `--trust-code`, and when.
Importing this module costs no torch.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ichor.errors import ModelError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from models.spec import ModelSpec

TRUST_FILE = "trust.json"
CODE_FAMILIES = frozenset({"export"})


class ModelNotTrusted(ModelError):
    """Loading the model can run code, and nobody has vouched for it."""

    code = "model_not_trusted"


def write_trust(folder: Path, spec: ModelSpec, *, trusted_at: datetime) -> None:
    """Record that somebody vouches for a model's files."""
    plain = {"trusted_at": trusted_at.isoformat(), "sha256": [file.sha256 for file in spec.files]}
    (folder / TRUST_FILE).write_text(json.dumps(plain, indent=1) + "\n")


def require_trust(folder: Path, spec: ModelSpec) -> None:
    """Raise ModelNotTrusted where the model's family can run code and its very files were not vouched for."""
    if spec.family not in CODE_FAMILIES:
        return
    try:
        trusted = json.loads((folder / TRUST_FILE).read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        trusted = []
    if not isinstance(trusted, list) or any(file.sha256 not in trusted for file in spec.files):
        raise ModelNotTrusted(
            f"{spec.name} is a torch.export program; loading one can run code, so it was not opened. "
            f"`ichor models add DIR --trust-code` says that you trust where it comes from."
        )
