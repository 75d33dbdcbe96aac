"""A pynetdicom transport that waits on the socket instead of polling it, and serves P-DATA where it is read.

What comes goes into one buffer, which is used over and over; a P-DATA-TF PDU (PS3.8 9.3.5) that is whole there is
offered to `take`, in the thread that has read it. Every other PDU, and one that `take` leaves, pynetdicom reads from
the same buffer. Length, time and rate of a PDU are bounded.
"""

from __future__ import annotations

import os
import queue
import select
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog
from pynetdicom.transport import AssociationSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

log = structlog.get_logger(__name__)

P_DATA_TF = 0x04
PDU_HEADER = struct.Struct(">BxI")  # PS3.8 9.3.1: type, reserved, length of what follows
DATA_TRANSFER = "Sta6"
"""PS3.8 Table 9-7: the association is established, nobody has asked for its release."""
TIMER_S = 0.25
"""How often timers are looked at while nothing comes; they are seconds long."""
IDLE_S = 0.001
BROKEN_OFF = "The peer hung up in the middle of a PDU"


class WakingQueue(queue.Queue[Any]):
    """A queue that calls back after every put."""

    def __init__(self, on_put: Callable[[], None]) -> None:
        super().__init__()
        self._on_put = on_put

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        """Put and call back."""
        super().put(item, block, timeout)
        self._on_put()


class WakeUp:
    """A descriptor that a wait for `connection` watches as well, readable from `set` to the end of the wait."""

    def __init__(self, connection: socket.socket) -> None:
        self._lock = threading.Lock()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()  # select() ends at descriptor 1024
        self._poll.register(connection, select.POLLIN)
        self._poll.register(self._descriptor, select.POLLIN)

    def __del__(self) -> None:
        self.close()

    def set(self) -> None:
        """End the wait that watches, or the next one."""
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the connection has something to read (True), `set` was called or time is up (False).

        Raises:
            OSError: the descriptor was given back.
        """
        if self._descriptor < 0:
            raise ConnectionError("The connection is closed")
        ready = {descriptor for descriptor, _ in self._poll.poll(timeout_s * 1000)}
        if self._descriptor in ready:
            os.eventfd_read(self._descriptor)
        return bool(ready - {self._descriptor})

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


class EventSocket(AssociationSocket):
    """A transport that waits for the peer or for something to send, and reads many PDUs with few calls.

    Args:
        assoc: the association.
        client_socket: its connection.
        received: what was read from the connection before; it comes first.
        buffer_bytes: PDUs up to this are offered to `take`.
        pdu_limit_bytes: longer ones end the association.
        take: serves a P-DATA-TF PDU, which is not to be kept; says False, and does nothing, where pynetdicom is to.
    """

    def __init__(
        self,
        assoc: Association,
        client_socket: socket.socket,
        *,
        received: bytes,
        buffer_bytes: int,
        pdu_limit_bytes: int,
        take: Callable[[memoryview], bool],
    ) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self._buffer = memoryview(bytearray(max(buffer_bytes, len(received))))
        self._buffer[: len(received)] = received
        self._begin, self._end = 0, len(received)
        self._pdu_limit_bytes = pdu_limit_bytes
        self._take = take
        self.encrypted = isinstance(client_socket, ssl.SSLSocket)
        self._wait_all = 0 if self.encrypted else socket.MSG_WAITALL
        """A plain socket comes back with all that was asked for, or when time is up; TLS with every record."""
        self.wake_up = WakeUp(client_socket)
        assoc.dul.to_provider_queue = WakingQueue(self._wake)
        if not self.encrypted:
            _block(client_socket, assoc.network_timeout)

    @property
    def ready(self) -> bool:
        """Serve what comes; say True for what pynetdicom is to read, False where it has something else to do.

        That is something to send, an event, or a look at its timers.
        """
        connection = self.socket
        if connection is None or not self._is_connected:
            time.sleep(IDLE_S)
            return False
        try:
            while connection.fileno() >= 0:
                busy = not self._at_leisure
                if not self._waiting(connection) and not self.wake_up.wait(0.0 if busy else TIMER_S):
                    return False
                if busy or self.assoc.dul.state_machine.current_state != DATA_TRANSFER or not self._serve(connection):
                    return True
        except OSError as error:
            if self.assoc.dul.state_machine.current_state == DATA_TRANSFER:
                log.warning("association_broken", reason=str(error), calling_ae=str(self.assoc.requestor.ae_title))
        self.event_queue.put("Evt17")  # PS3.8 Table 9-10: transport connection closed
        return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read that many bytes, or fewer where the peer closes; OSError where it sends too much or too slowly."""
        if nr_bytes > self._pdu_limit_bytes:
            raise ConnectionError(f"The peer announces a PDU of {nr_bytes} bytes")
        connection = self.socket
        if connection is None:
            return bytearray()
        received = bytearray(nr_bytes)
        filled = min(nr_bytes, self._end - self._begin)
        received[:filled] = self._buffer[self._begin : self._begin + filled]
        self._begin += filled
        until_s = self._until_s()
        with memoryview(received) as view:
            while filled < nr_bytes:
                count = connection.recv_into(view[filled:], 0, self._wait_all)
                if not count:
                    break
                filled += count
                if filled < nr_bytes:
                    _check_time(until_s)
        del received[filled:]
        return received

    @property
    def _at_leisure(self) -> bool:
        dul = self.assoc.dul
        return dul.event_queue.empty() and dul.to_provider_queue.empty() and not dul._kill_thread  # noqa: SLF001

    def _serve(self, connection: socket.socket) -> bool:
        """Serve one P-DATA-TF PDU; say False where the next one is for pynetdicom.

        Raises:
            OSError: the peer hung up, or sends too slowly.
        """
        if not self._read(connection, PDU_HEADER.size):
            return False
        kind, length = PDU_HEADER.unpack_from(self._buffer, self._begin)
        size = PDU_HEADER.size + length
        if kind != P_DATA_TF or size > len(self._buffer) or not self._read(connection, size):
            return False
        if not self._take(self._buffer[self._begin + PDU_HEADER.size : self._begin + size]):
            return False
        self._begin += size
        self.assoc.dul._idle_timer.restart()  # noqa: SLF001  # as DULServiceProvider.run_reactor does for a PDU
        return True

    def _read(self, connection: socket.socket, size: int) -> bool:
        """Bring at least `size` bytes into the buffer; say False where the peer hangs up between two PDUs.

        Raises:
            OSError: it hangs up in the middle of one, or sends too slowly.
        """
        missing = size - (self._end - self._begin)
        if missing <= 0:
            return True
        if self._begin == self._end:
            self._begin = self._end = 0
        elif self._begin + size > len(self._buffer):
            rest = bytes(self._buffer[self._begin : self._end])
            self._buffer[: len(rest)] = rest
            self._begin, self._end = 0, len(rest)
        until_s = self._until_s()
        while missing > 0:
            count = connection.recv_into(self._buffer[self._end :])
            if not count:
                if self._begin < self._end:
                    raise ConnectionError(BROKEN_OFF)
                return False
            self._end += count
            missing -= count
            if missing > 0:
                _check_time(until_s)
        return True

    def _waiting(self, connection: socket.socket) -> bool:
        """Say whether something was read, or decrypted, that the socket knows nothing of any more."""
        return self._begin < self._end or (isinstance(connection, ssl.SSLSocket) and connection.pending() > 0)

    def _until_s(self) -> float | None:
        allowed_s = self.assoc.network_timeout
        return None if allowed_s is None else time.monotonic() + allowed_s

    def _wake(self) -> None:
        """End the wait of the thread that sends, unless it is the one that put something there."""
        if threading.current_thread() is not self.assoc.dul:
            self.wake_up.set()


def _check_time(until_s: float | None) -> None:
    if until_s is not None and time.monotonic() > until_s:
        raise TimeoutError("The peer sends a PDU too slowly")


def _block(connection: socket.socket, timeout_s: float | None) -> None:
    """Let the kernel hold the time limit: Python's own makes a socket non-blocking, and MSG_WAITALL of no effect."""
    connection.settimeout(None)
    seconds, fraction = divmod(timeout_s or 0.0, 1.0)
    limit = struct.pack("@ll", int(seconds), int(fraction * 1e6))  # struct timeval; zero is no limit
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
