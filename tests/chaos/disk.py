"""A data directory whose disk can be filled: a small file system of its own where that may be mounted, else a reserve.

Without the right to mount, the disk is never really full: the listener is brought below `min_free_gb` instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FILLER = "filler"
GB = 1_000_000_000
STEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Where the node keeps its data, and how to leave no room there."""

    folder: Path
    min_free_gb: float
    own: bool
    """Whether it is a file system of its own, which can be filled to the last block."""

    def fill(self) -> None:
        """Take all room that there is, or the reserve."""
        path = self.folder / FILLER
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if not self.own:
                os.posix_fallocate(descriptor, 0, 2 * GB)
                return
            with contextlib.suppress(OSError):  # others write meanwhile: until there is nothing left
                while True:
                    os.write(descriptor, bytes(STEP_BYTES))
        finally:
            os.close(descriptor)

    def make_room(self) -> None:
        """Give it back."""
        (self.folder / FILLER).unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, size_mb: int) -> Iterator[Disk]:
    """Give a data directory on a disk of this size, as far as this user may make one."""
    folder.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=700", "tmpfs", str(folder)],
            check=False,
            capture_output=True,
        ).returncode
        == 0
    )
    if not mounted:
        reserve_gb = shutil.disk_usage(folder).free / GB - 1.0
        yield Disk(folder=folder, min_free_gb=max(0.0, reserve_gb), own=False)
        return
    try:
        yield Disk(folder=folder, min_free_gb=0.01, own=True)
    finally:
        subprocess.run(["umount", str(folder)], check=False, capture_output=True)
