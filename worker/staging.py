"""Where a result is written before anybody may see it: a folder of this try's own, moved into place when published.

Two workers may write the same result, one of them without knowing that it lost its lease. So that the files of a
published result are never touched again, only the transaction that publishes moves its folder to the result's place.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

    from ichor.identity import ResultIdentity
    from ichor.store import Store

SUFFIX = ".part"
STALE_S = 3600.0
"""A folder that nothing was written to for this long belongs to a worker that was killed."""


class Staging:
    """Context manager round one try; removes what was not moved into place."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folders: list[Path] = []

    def folder_for(self, identity: ResultIdentity) -> Path:
        """Give a new folder for the files of a result."""
        place = self.place_of(identity)
        folder = place.with_name(f"{place.name}.{secrets.token_hex(4)}{SUFFIX}")
        self._folders.append(folder)
        return folder

    def place_of(self, identity: ResultIdentity) -> Path:
        """Give the folder where a published result lies."""
        return self._store.results_path(identity.uid("result"), "result.json").parent

    def move_into_place(self, folder: Path, identity: ResultIdentity) -> Path:
        """Move a written folder to the result's place, durably; call it only where this try alone may publish."""
        place = self.place_of(identity)
        if place.exists():
            shutil.rmtree(place)  # of a try that moved it here and whose transaction did not commit
        folder.rename(place)
        descriptor = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return place

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def sweep_staged(results_dir: Path) -> int:
    """Remove the folders that killed workers left behind; return how many."""
    stale_before = time.time() - STALE_S
    stale = [folder for folder in results_dir.glob(f"*{SUFFIX}") if folder.stat().st_mtime < stale_before]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
    return len(stale)
