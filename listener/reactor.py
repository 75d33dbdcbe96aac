"""pynetdicom's acceptor without its naps: the same state machine, woken by events instead of by polling.

pynetdicom 3.0 sleeps a millisecond in every round of its two reactor loops and reads the socket in pieces of 4 KiB.
Here the transport, the queues and the DIMSE provider of an association are replaced by subclasses that wait on the
socket and on a wake-up descriptor. They also bound what a peer can hold: PDU length, time per PDU, rate, data set size.
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
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AssociationSocket, RequestHandler

from listener.store_command import encode_store_response, read_store_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

    from listener.inbox import InboxFile
    from listener.store_command import StoreRequest

log = structlog.get_logger(__name__)

MIN_PDU_LIMIT_BYTES = 1 << 20
"""No PDU needs more than this, whatever the settings say of P-DATA."""
MAX_DATA_SET_BYTES = 2 << 30
"""An Enhanced CT of 2,000 frames has 1 GiB."""
MAX_MESSAGE_BYTES = 1 << 24
"""Command sets, and data sets that are held in memory: requests for storage commitment and their answers."""
MIN_BYTES_PER_S = 4096
"""A message slower than this over the idle timeout is given up: ISDN brought twice as much."""
MIN_ONE_PDU_BYTES = 1024
"""A peer that takes PDUs of this size gets every answer to a C-STORE in one."""
TIMER_S = 0.25
"""How often timers are looked at while nothing comes; they are seconds long."""
IDLE_S = 0.001


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
    """A descriptor that a wait can watch, readable from `set` to `clear`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        self.close()

    def set(self) -> None:
        """End the wait that watches, or the next one."""
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def wait(self, connection: socket.socket, timeout_s: float) -> bool:
        """Wait until `connection` has something to read (True), `set` was called or time is up (False)."""
        poll = select.poll()  # select() ends at descriptor 1024
        poll.register(connection, select.POLLIN)
        poll.register(self._descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}
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
    """A transport that waits for the peer or for something to send, and reads a PDU in one go.

    `received` is what was read from the connection before; it comes first.
    """

    def __init__(
        self, assoc: Association, client_socket: socket.socket, *, received: bytes, pdu_limit_bytes: int
    ) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self._received = memoryview(received)
        self._pdu_limit_bytes = pdu_limit_bytes
        self.encrypted = isinstance(client_socket, ssl.SSLSocket)
        self.wake_up = WakeUp()
        assoc.dul.to_provider_queue = WakingQueue(self._wake)
        if not self.encrypted:
            _block(client_socket, assoc.network_timeout)

    @property
    def ready(self) -> bool:
        """Wait until the peer has sent something (True), or there is something to do or a timer to look at."""
        connection = self.socket
        if connection is None or not self._is_connected:
            time.sleep(IDLE_S)
            return False
        busy = not (self.event_queue.empty() and self.assoc.dul.to_provider_queue.empty())
        try:
            if self._received or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
                return True
            return self.wake_up.wait(connection, 0.0 if busy else TIMER_S)
        except (OSError, ValueError):
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
        filled = min(nr_bytes, len(self._received))
        received[:filled] = self._received[:filled]
        self._received = self._received[filled:]
        allowed_s = self.assoc.network_timeout
        until = None if allowed_s is None else time.monotonic() + allowed_s
        with memoryview(received) as view:
            while filled < nr_bytes:
                # TLS ends a call with every record; a plain socket comes back with all of it, or when time is up.
                count = connection.recv_into(view[filled:], 0, 0 if self.encrypted else socket.MSG_WAITALL)
                if not count:
                    break
                filled += count
                if until is not None and filled < nr_bytes and time.monotonic() > until:
                    raise TimeoutError("The peer sends a PDU too slowly")
        del received[filled:]
        return received

    def _wake(self) -> None:
        """End the wait of the thread that sends, unless it is the one that put something there."""
        if threading.current_thread() is not self.assoc.dul:
            self.wake_up.set()


def _block(connection: socket.socket, timeout_s: float | None) -> None:
    """Let the kernel hold the time limit: Python's own makes a socket non-blocking, and MSG_WAITALL of no effect."""
    connection.settimeout(None)
    seconds, fraction = divmod(timeout_s or 0.0, 1.0)
    limit = struct.pack("@ll", int(seconds), int(fraction * 1e6))  # struct timeval; zero is no limit
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


class DataSetStream(BytesIO):
    """Where the fragments of a C-STORE's data set go: into a file of the inbox."""

    def __init__(self, begin: Callable[[], InboxFile]) -> None:
        super().__init__()
        self.file: InboxFile | None = None
        self.error: Exception | None = None
        """Why there is no file; the sender is told when its data set is complete."""
        try:
            self.file = begin()
        except Exception as error:  # noqa: BLE001  # the table of refusals looks at it in the handler
            self.error = error

    def write(self, data: Any) -> int:
        """Take in a fragment."""
        if self.file is not None:
            self.file.write(data)
        return len(data)

    def discard(self) -> None:
        """Give up what was written."""
        if self.file is not None:
            self.file.discard()


class EventDimse(DIMSEServiceProvider):
    """A DIMSE provider that streams the data sets of C-STOREs to the disk, and serves messages as they come.

    Args:
        assoc: the association.
        begin: opens a file for a data set.
    """

    def __init__(self, assoc: Association, begin: Callable[[], InboxFile]) -> None:
        super().__init__(assoc)
        self._begin = begin
        self._news = threading.Event()
        self.msg_queue = WakingQueue(self._news.set)
        assoc.dul.to_user_queue = WakingQueue(self._news.set)
        self._store: C_STORE | None = None
        self._message_bytes = 0
        self._message_began_s = 0.0

    def get_msg(self, block: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the next message, or (None, None) when there is a release, an abort or a timer to look at.

        Called by the association's own thread, it serves messages itself for as long as they come: between two that
        it returned, pynetdicom's loop would sleep.
        """
        if block:
            return super().get_msg(block)
        while self.assoc.is_established and self.assoc._reactor_checkpoint.is_set():  # noqa: SLF001
            if self.msg_queue.empty() and self.assoc.dul.is_alive() and self.assoc.dul.to_user_queue.empty():
                self._news.wait(TIMER_S)
            self._news.clear()
            context_id, message = super().get_msg(block=False)
            if message is None or context_id is None or not self.assoc._reactor_checkpoint.is_set():  # noqa: SLF001
                return context_id, message
            self.assoc._serve_request(message, context_id)  # noqa: SLF001
        return None, None

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a message; the answer to a C-STORE without building a data set for it."""
        limit = self.maximum_pdu_size
        if not isinstance(primitive, C_STORE) or primitive.Status is None or 0 < limit < MIN_ONE_PDU_BYTES:
            super().send_msg(primitive, context_id)
            return
        data = P_DATA()
        value = encode_store_response(
            message_id=int(primitive.MessageIDBeingRespondedTo or 0),
            sop_class_uid=str(primitive.AffectedSOPClassUID or ""),
            sop_instance_uid=str(primitive.AffectedSOPInstanceUID or ""),
            status=primitive.Status,
            comment=getattr(primitive, "ErrorComment", None) or "",
        )
        data.presentation_data_value_list.append((context_id, value))
        self.dul.send_pdu(data)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in a part of a message; what is too large, too slow or no message ends the association."""
        now_s = time.monotonic()
        if self.message is None and self._store is None:
            self._message_bytes = 0
            self._message_began_s = now_s
        values = primitive.presentation_data_value_list
        self._message_bytes += sum(len(value) for _, value in values)
        try:
            if self.message is None and self._store is None and (request := read_store_request(values[0][1])):
                self._store = self._new_store(request, context_id=values[0][0])
                values = values[1:]
            self._check_bounds(now_s - self._message_began_s)
            if self._store is not None:
                self._receive_data_set(self._store, values)
            else:
                super().receive_primitive(primitive)
        except Exception as error:  # noqa: BLE001  # pydicom and pynetdicom raise many things over a broken command set
            log.warning("message_not_taken", reason=str(error), calling_ae=str(self.assoc.requestor.ae_title))
            self.give_up()
            self.dul.event_queue.put("Evt19")  # PS3.8 Table 9-10: invalid PDU, the association is aborted

    def give_up(self) -> None:
        """Forget the message that is being received."""
        self.message = None
        store, self._store = self._store, None
        if store is not None and isinstance(store.DataSet, DataSetStream):
            store.DataSet.discard()

    def _new_store(self, request: StoreRequest, *, context_id: int) -> C_STORE:
        store = C_STORE()
        store.MessageID = request.message_id
        store.AffectedSOPClassUID = request.sop_class_uid
        store.AffectedSOPInstanceUID = request.sop_instance_uid
        store.MoveOriginatorApplicationEntityTitle = request.move_originator or None
        store._context_id = context_id  # noqa: SLF001  # as DIMSEMessage.message_to_primitive does
        store.DataSet = DataSetStream(self._begin)
        return store

    def _receive_data_set(self, store: C_STORE, values: list[tuple[int, bytes]]) -> None:
        """Write fragments away; with the last one the request is ready to be served (PS3.8 E.2)."""
        for number, (context_id, value) in enumerate(values, start=1):
            if context_id != store._context_id or value[0] & 1:  # noqa: SLF001
                raise ConnectionError("a data set is interrupted by another message")
            if store.DataSet is not None:
                store.DataSet.write(memoryview(value)[1:])
            if value[0] & 2:
                if number < len(values):
                    raise ConnectionError("something follows the last fragment of a data set")
                self._store = None
                self._serve(store, context_id)

    def _serve(self, store: C_STORE, context_id: int) -> None:
        """Serve a C-STORE in this thread, which has read it; anything unusual is left to the association's own."""
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001
        if context is not None and context.abstract_syntax == store.AffectedSOPClassUID:
            StorageServiceClass(self.assoc).SCP(store, context)
        else:
            self.msg_queue.put((context_id, store))

    def _check_bounds(self, elapsed_s: float) -> None:
        if self._message_bytes > (MAX_MESSAGE_BYTES if self._store is None else MAX_DATA_SET_BYTES):
            raise ConnectionError("the message is too large")
        allowed_s = self.assoc.network_timeout
        if allowed_s is not None and elapsed_s > allowed_s and self._message_bytes < elapsed_s * MIN_BYTES_PER_S:
            raise ConnectionError("the message comes too slowly")


class EventRequestHandler(RequestHandler):
    """Builds the association of a connection from the parts above; the request is (bytes received, connection)."""

    server: Any

    def setup(self) -> None:
        """Part what was received from the connection."""
        self.received, self.request = self.request

    def _create_association(self) -> Association:
        association = super()._create_association()
        self.request.settimeout(association.network_timeout)
        limit = max(self.ae.maximum_pdu_size, MIN_PDU_LIMIT_BYTES)
        association.dul.event_queue.get_nowait()  # "connected", said by the socket that is replaced here
        association.dul.socket = EventSocket(association, self.request, received=self.received, pdu_limit_bytes=limit)
        association.dul._run_loop_delay = 0.0  # noqa: SLF001  # the transport waits instead
        association.dimse = EventDimse(association, self.server.begin)
        for event in (evt.EVT_DIMSE_RECV, evt.EVT_DIMSE_SENT, evt.EVT_PDU_RECV, evt.EVT_PDU_SENT):
            # The standard handlers format every message for a log, UIDs included.
            for handler, _ in cast("list[tuple[Callable[..., Any], Any]]", association.get_handlers(event))[:]:
                association.unbind(event, handler)
        association.bind(evt.EVT_CONN_CLOSE, _let_go)
        return association


def _let_go(event: evt.Event) -> None:
    """Give back what a closed connection holds: an unfinished data set and its descriptors."""
    association = event.assoc
    if isinstance(association.dimse, EventDimse):
        association.dimse.give_up()
    transport = association.dul.socket
    if isinstance(transport, EventSocket):
        transport.wake_up.close()
        if transport.socket is not None:
            transport.socket.close()  # pynetdicom leaves it to the garbage collector where the peer has reset it
