"""Files that survive a crash.

The spool is the record of what was received: a file is there whole or not at all, because it is written under a
temporary name, synced, renamed, and its folder synced. Names are UIDs that were checked, so that no sender can point
outside the store.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from ichor.errors import BadUid, StoreFull

PARTIAL_PREFIX = ".partial-"
UID_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)*")
"""Looser than PS3.5 9.1 in one point: leading zeros in a component, which scanners in the field do write."""
UID_MAX_LENGTH = 64  # PS3.5 9.1
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
DISK_FULL_ERRNOS = frozenset({28, 122})  # ENOSPC, EDQUOT


def write_durably(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file so that after return it is on the disk, whole; before, nothing stands under its name.

    A file that is there already is replaced in one step. Folders are created for the owner alone.

    Raises:
        StoreFull: the disk or the quota is full; nothing is left behind.
        OSError: anything else that the disk says.
    """
    partial = path.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(8)}")
    try:
        make_folder(path.parent)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for chunk in chunks:
                _write_all(descriptor, memoryview(chunk).cast("B"))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(path)
        sync_folder(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
            raise StoreFull from error
        raise


class Store:
    """The folders below `data_dir`: spool, results, quarantine, and the inbox of what is just coming in."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.spool_dir = data_dir / "spool"
        self.results_dir = data_dir / "results"
        self.quarantine_dir = data_dir / "quarantine"
        self.inbox_dir = data_dir / "inbox"

    def spool_path(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> Path:
        """Return where a received instance lies; raises BadUid for what is no UID."""
        study, series, sop = map(checked_uid, (study_instance_uid, series_instance_uid, sop_instance_uid))
        return self.spool_dir / f"{study}/{series}/{sop}.dcm"

    def results_path(self, result_uid: str, name: str) -> Path:
        """Return where a file of a result lies, by its plain name; raises BadUid."""
        return self.results_dir / checked_uid(result_uid) / _checked_name(name)

    def quarantine_path(self, name: str) -> Path:
        """Return where something lies that was received and is not usable; raises BadUid."""
        return self.quarantine_dir / _checked_name(name)

    def sweep_partial(self) -> int:
        """Remove what a crash left half-written; return how many files that were.

        To be called before anything writes.
        """
        found = [
            path
            for folder in (self.spool_dir, self.results_dir, self.quarantine_dir)
            for path in folder.rglob(f"{PARTIAL_PREFIX}*")
        ]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def free_bytes(self) -> int:
        """Return how many bytes are free on the disk of `data_dir`, or of the nearest folder above that exists."""
        folder = self.data_dir
        while True:
            try:
                disk = os.statvfs(folder)
            except FileNotFoundError:
                if folder == folder.parent:
                    raise
                folder = folder.parent
            else:
                return disk.f_bavail * disk.f_frsize


def checked_uid(uid: str) -> str:
    """Return a UID that may serve as a file's name; raises BadUid."""
    if len(uid) > UID_MAX_LENGTH or UID_PATTERN.fullmatch(uid) is None:
        raise BadUid
    return uid


def _checked_name(name: str) -> str:
    if NAME_PATTERN.fullmatch(name) is None:
        raise BadUid(f"{name!r} is not usable as a file's name.")
    return name


def _write_all(descriptor: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, each synced into the one that holds it."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        # Another thread may have been first: what counts is that it is there, and on the disk.
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
