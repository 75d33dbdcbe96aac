"""One at a time for each SOP Instance UID, among the threads and processes that share a store."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCKS = 256
"""UIDs share them by chance; a sync takes so short that this hardly ever costs anything."""


class InstanceLocks:
    """Locks on files of a folder, which a killed process lets go of (flock(2)); raises OSError without the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._threads = tuple(threading.Lock() for _ in range(LOCKS))
        self._descriptors: dict[int, int] = {}

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptors back."""
        while getattr(self, "_descriptors", None):
            os.close(self._descriptors.popitem()[1])

    @contextmanager
    def held(self, sop_instance_uid: str) -> Iterator[None]:
        """Hold the lock of a UID."""
        number = hashlib.sha256(sop_instance_uid.encode()).digest()[0] % LOCKS
        # One descriptor is one owner to flock(2), whichever thread uses it: threads have locks of their own.
        with self._threads[number]:
            if number not in self._descriptors:
                path = self._folder / f"{number:02x}"
                self._descriptors[number] = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptors[number], fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptors[number], fcntl.LOCK_UN)
