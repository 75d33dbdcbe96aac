"""How many associations are open in all acceptor processes together: one row of shared memory for each process."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ROW = struct.Struct("=II")  # open associations, connections that have not asked for one


class Seats:
    """The counts of `processes` processes; this one writes row `number` and reads all.

    Args:
        descriptor: of the shared memory that `shared_seats` made, None for a process that is alone.
        number: of this process.
        processes: how many there are.
        limit: associations that may be open in all of them together.
    """

    def __init__(self, *, limit: int, descriptor: int | None = None, number: int = 0, processes: int = 1) -> None:
        self.limit = limit
        self._number = number
        self._processes = processes
        self._descriptor = shared_seats(processes) if descriptor is None else descriptor
        self._rows = mmap.mmap(self._descriptor, _ROW.size * processes)
        self._lock = threading.Lock()
        self.put(associations=0, waiting=0)

    def close(self) -> None:
        """Give the memory back; the row of this process is empty from now on."""
        with self._lock:
            self._write(0, 0)
            self._rows.close()
            os.close(self._descriptor)

    def put(self, *, associations: int | None = None, waiting: int | None = None) -> None:
        """Write down what is open in this process."""
        with self._lock:
            if not self._rows.closed:
                before = self._row(self._number)
                self._write(
                    before[0] if associations is None else associations, before[1] if waiting is None else waiting
                )

    def take(self, already: int) -> bool:
        """Take one more beside the `already` open ones of this process, unless the limit is reached."""
        with self._alone():
            others = sum(self._row(number)[0] for number in range(self._processes) if number != self._number)
            if others + already >= self.limit:
                return False
            self._write(already + 1, self._row(self._number)[1])
            return True

    def busier_than_another(self) -> bool:
        """Say whether another process has less to do than this one."""
        if self._processes == 1:
            return False
        own = sum(self._row(self._number))
        return any(sum(self._row(number)) < own for number in range(self._processes) if number != self._number)

    def empty(self, number: int) -> None:
        """Clear the row of a process that has died."""
        _ROW.pack_into(self._rows, number * _ROW.size, 0, 0)

    def _row(self, number: int) -> tuple[int, int]:
        associations, waiting = _ROW.unpack_from(self._rows, number * _ROW.size)
        return associations, waiting

    def _write(self, associations: int, waiting: int) -> None:
        _ROW.pack_into(self._rows, self._number * _ROW.size, associations, waiting)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold off the other threads and processes; POSIX locks are of a process, and go with it."""
        with self._lock:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def shared_seats(processes: int) -> int:
    """Make the shared memory for that many processes; the descriptor is to be handed to each of them."""
    descriptor = os.memfd_create("ichor-seats", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _ROW.size * processes)
    return descriptor
