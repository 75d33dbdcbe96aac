"""Which code a training runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import models


def running_commit() -> str | None:
    """Return the commit of the checkout that runs, `-changed` where files differ from it; None for an installed wheel.

    To be asked before a training: hours later the checkout may be another.
    """
    checkout = Path(models.__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        head = _git(checkout, "rev-parse", "HEAD").strip()
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no").strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-changed" if changed else head


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(checkout), *arguments], check=True, capture_output=True, text=True).stdout
