"""Files that wait for data sets: made, and their names synced, before anything comes.

An instance is then durable with one sync: its bytes go into a file whose name is on the disk already, fdatasync(2),
rename(2) to its place in the spool. Where a power cut takes the rename back, the file still lies here, whole, and says
itself what it is; `Receiver.recover` brings it to its place at the next start. Nothing else looks into these folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING

from ichor.errors import StoreFull
from ichor.store import DISK_FULL_ERRNOS, make_folder, sync_folder
from listener.part10 import FILE_START_BYTES
from listener.writeback import begin_writeback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 64
"""Files made at a time: one sync of their folder for so many instances."""
MOST_UNHASHED_BYTES = 1 << 22
"""What may wait to be hashed until the disk has its work; more than that is no slice any more."""


class Inbox:
    """The waiting files of one process; made at the first need and then beforehand, removed by `close`."""

    def __init__(self, inbox_dir: Path) -> None:
        self._inboxes = inbox_dir
        self._ready: deque[InboxFile] = deque()
        self._making = threading.Lock()
        self._made = 0
        self._maker: threading.Thread | None = None
        self._folder: Path | None = None
        self._folder_lock = -1

    def open(self) -> InboxFile:
        """Give a file to write a data set into.

        Raises:
            StoreFull: the disk is full.
            OSError: anything else that the disk says.
        """
        try:
            while True:
                with contextlib.suppress(IndexError):
                    file = self._ready.popleft()
                    break
                with self._making:
                    self._make()
        except OSError as error:
            if error.errno in DISK_FULL_ERRNOS:
                raise StoreFull from error
            raise
        if len(self._ready) < BATCH // 2:
            self._make_beforehand()
        return file

    def close(self) -> None:
        """Remove the files that nobody has used, and the folder unless something is being written in it."""
        with self._making:
            while self._ready:
                self._ready.popleft().discard()
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    self._folder.rmdir()
                os.close(self._folder_lock)
                self._folder = None

    def _make_beforehand(self) -> None:
        """Make files while the senders go on; where that fails, who needs one next is told why."""
        if self._maker is not None and self._maker.is_alive():
            return

        def make() -> None:
            with contextlib.suppress(OSError), self._making:
                if self._folder is not None:  # not closed meanwhile
                    self._make()

        self._maker = threading.Thread(target=make, name="inbox", daemon=True)
        self._maker.start()

    def _make(self) -> None:
        if len(self._ready) >= BATCH // 2:
            return  # another thread has been here
        folder = self._own_folder()
        made = []
        for _ in range(BATCH):
            made.append(InboxFile(folder / f"{self._made:08x}"))
            self._made += 1
        sync_folder(folder)
        self._ready.extend(made)

    def _own_folder(self) -> Path:
        """Return the folder of this process, locked against those that clear up after the dead."""
        while self._folder is None:
            folder = self._inboxes / secrets.token_hex(8)
            make_folder(folder)
            descriptor = _locked(folder, wait=True)
            if descriptor is not None and folder.exists():  # nobody cleared it away before the lock was there
                self._folder, self._folder_lock = folder, descriptor
        return self._folder


class InboxFile:
    """One data set on its way to the disk. Writing never raises: what went wrong is raised by `keep`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        """Of the data set, without what stands before it."""
        self._error: OSError | None = None
        self._sha256 = hashlib.sha256()
        self._hashed_bytes = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.lseek(self._descriptor, FILE_START_BYTES, os.SEEK_SET)

    def __del__(self) -> None:
        self.discard()

    def sha256(self) -> str:
        """Return the digest of what was written so far; the disk begins to take it in meanwhile."""
        begin_writeback(self._descriptor)
        self._hash()
        return self._sha256.hexdigest()

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._descriptor

    def write(self, data: bytes | memoryview) -> None:
        """Append to the data set."""
        self.size_bytes += len(data)
        if self._error is not None:
            return
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if self.size_bytes - self._hashed_bytes > MOST_UNHASHED_BYTES:
                self._hash()
        except OSError as error:
            self._error = error

    def check(self) -> None:
        """Raise `StoreFull`, or the OSError, that a write ran into."""
        if self._error is not None:
            if self._error.errno in DISK_FULL_ERRNOS:
                raise StoreFull from self._error
            raise self._error

    def keep(self, start: bytes, target: Path) -> None:
        """Write what stands before the data set, and bring the file to its place; on return it is there for good.

        Raises:
            StoreFull: the disk or the quota is full.
            OSError: anything else that the disk says.
        """
        self.check()
        try:
            os.pwrite(self._descriptor, start, 0)
            os.fdatasync(self._descriptor)
            move_into(self.path, target)
        except OSError as error:
            if error.errno in DISK_FULL_ERRNOS:
                raise StoreFull from error
            raise
        self._close()

    def discard(self) -> None:
        """Remove it, unless it was kept."""
        if getattr(self, "_descriptor", -1) >= 0:
            self._close()
            self.path.unlink(missing_ok=True)

    def _hash(self) -> None:
        """Hash what was not hashed yet, where it lies in the page cache."""
        if self._error is not None or self._hashed_bytes == self.size_bytes:
            return
        end = FILE_START_BYTES + self.size_bytes
        with mmap.mmap(self._descriptor, end, access=mmap.ACCESS_READ) as file, memoryview(file) as content:
            self._sha256.update(content[FILE_START_BYTES + self._hashed_bytes :])
        self._hashed_bytes = self.size_bytes

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def move_into(path: Path, target: Path) -> None:
    """Rename a file into a folder that may not be there, or be removed just now because it was empty."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, target)  # noqa: PTH104  # half the time of Path's own
            return
        path.stat()  # raises where it is the file that is gone
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def abandoned(inbox_dir: Path) -> Iterator[Path]:
    """Yield the files of processes that are gone; their folders are removed behind them, with what was left there."""
    for folder in sorted(inbox_dir.iterdir() if inbox_dir.is_dir() else ()):
        descriptor = _locked(folder, wait=False)
        if descriptor is None:
            continue
        try:
            for path in sorted(folder.iterdir()):
                if path.stat().st_size > FILE_START_BYTES:
                    yield path
                path.unlink(missing_ok=True)
            folder.rmdir()
        finally:
            os.close(descriptor)


def _locked(folder: Path, *, wait: bool) -> int | None:
    """Return a descriptor that holds the folder's lock, None where another process has it or removed the folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
