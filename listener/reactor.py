"""pynetdicom's acceptor without its naps: the same state machine, woken by events instead of by polling.

pynetdicom 3.0 sleeps a millisecond in every round of its two reactor loops and makes a dozen objects of every fragment.
Here the transport, the queues and the DIMSE provider of an association are replaced by subclasses. A C-STORE is read,
written away and answered in the thread that reads the socket; everything else goes pynetdicom's own way.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.transport import RequestHandler

from listener.store_command import (
    COMMAND_FRAGMENT,
    LAST_FRAGMENT,
    encode_store_response,
    p_data_pdus,
    presentation_data_values,
    read_store_request,
)
from listener.transport import PDU_HEADER, TIMER_S, EventSocket, WakingQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import P_DATA

    from listener.store_command import StoreRequest
    from listener.store_service import StoreAnswer, StoreMessage, StoreService

log = structlog.get_logger(__name__)

MIN_PDU_LIMIT_BYTES = 1 << 20
"""No PDU needs more than this, whatever the settings say of P-DATA."""
MAX_DATA_SET_BYTES = 2 << 30
"""An Enhanced CT of 2,000 frames has 1 GiB."""
MAX_MESSAGE_BYTES = 1 << 24
"""Command sets, and data sets that are held in memory: requests for storage commitment and their answers."""
MIN_BYTES_PER_S = 4096
"""A message slower than this over the idle timeout is given up: ISDN brought twice as much."""


class EventDimse(DIMSEServiceProvider):
    """A DIMSE provider that streams the data sets of C-STOREs to the disk, and serves messages as they come."""

    def __init__(self, assoc: Association, service: StoreService) -> None:
        super().__init__(assoc)
        self._service = service
        self._news = threading.Event()
        self.msg_queue = WakingQueue(self._news.set)
        assoc.dul.to_user_queue = WakingQueue(self._news.set)
        self._store: StoreMessage | None = None
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

    def take(self, body: memoryview) -> bool:
        """Serve a P-DATA-TF PDU of a C-STORE; say False, having done nothing, where it is of something else."""
        values = presentation_data_values(body)
        return values is not None and self._receive(values)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in a part of a message that pynetdicom has read."""
        values = [(context_id, memoryview(value)) for context_id, value in primitive.presentation_data_value_list]
        if self._receive(values):
            return
        try:
            self._count(_size_bytes(values), first=self.message is None)
            super().receive_primitive(primitive)
        except Exception as error:  # noqa: BLE001  # pydicom and pynetdicom raise many things over a broken command set
            self._refuse(error)

    def give_up(self) -> None:
        """Forget the message that is being received."""
        self.message = None
        store, self._store = self._store, None
        if store is not None:
            store.discard()

    def _receive(self, values: Sequence[tuple[int, memoryview]]) -> bool:
        """Take in parts of a C-STORE; say False, having done nothing, where they are of something else.

        What is too large, too slow or no message ends the association.
        """
        store, request = self._store, None
        if store is None and values and self.message is None:
            request = read_store_request(values[0][1])
        try:
            if request is not None:
                self._store = store = self._begin(request, context_id=values[0][0])
            if store is None:
                return False
            self._count(_size_bytes(values), first=request is not None)
            self._receive_data_set(store, values if request is None else values[1:])
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not end the thread that reads
            self._refuse(error)
        return True

    def _begin(self, request: StoreRequest, *, context_id: int) -> StoreMessage:
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001
        if context is None:
            raise ConnectionError("the message names no presentation context that was accepted")
        return self._service.begin(request, context_id, str(context.transfer_syntax[0]))

    def _receive_data_set(self, store: StoreMessage, values: Sequence[tuple[int, memoryview]]) -> None:
        """Write fragments away; after the last one the request is served, in this thread (PS3.8 E.2)."""
        for number, (context_id, value) in enumerate(values, start=1):
            if context_id != store.context_id or value[0] & COMMAND_FRAGMENT:
                raise ConnectionError("a data set is interrupted by another message")
            store.write(value[1:])
            if value[0] & LAST_FRAGMENT:
                if number < len(values):
                    raise ConnectionError("something follows the last fragment of a data set")
                self._store = None
                self._service.finish(self.assoc, store, partial(self._answer, store))

    def _answer(self, store: StoreMessage, answer: StoreAnswer) -> None:
        """Send the response of a C-STORE; only the thread that sends everything else calls this."""
        transport = self.dul.socket
        if transport is None or not self.assoc.is_established:
            return
        command = encode_store_response(store.request, status=answer.status, comment=answer.comment)
        for pdu in p_data_pdus(store.context_id, command, limit_bytes=self.maximum_pdu_size):
            transport.send(pdu)

    def _count(self, size_bytes: int, *, first: bool = False) -> None:
        """Hold a message, with what comes now, against what it may have in bytes and in time."""
        now_s = time.monotonic()
        if first:
            self._message_bytes = 0
            self._message_began_s = now_s
        self._message_bytes += size_bytes
        if self._message_bytes > (MAX_MESSAGE_BYTES if self._store is None else MAX_DATA_SET_BYTES):
            raise ConnectionError("the message is too large")
        allowed_s, elapsed_s = self.assoc.network_timeout, now_s - self._message_began_s
        if allowed_s is not None and elapsed_s > allowed_s and self._message_bytes < elapsed_s * MIN_BYTES_PER_S:
            raise ConnectionError("the message comes too slowly")

    def _refuse(self, error: Exception) -> None:
        """End the association over what is no message."""
        log.warning("message_not_taken", reason=str(error), calling_ae=str(self.assoc.requestor.ae_title))
        self.give_up()
        self.dul.event_queue.put("Evt19")  # PS3.8 Table 9-10: invalid PDU, the association is aborted


def _size_bytes(values: Sequence[tuple[int, memoryview]]) -> int:
    return sum(len(value) for _, value in values)


class EventRequestHandler(RequestHandler):
    """Builds the association of a connection from the parts above; the request is (bytes received, connection)."""

    server: Any

    def setup(self) -> None:
        """Part what was received from the connection."""
        self.received, self.request = self.request

    def _create_association(self) -> Association:
        association = super()._create_association()
        self.request.settimeout(association.network_timeout)
        association.dimse = dimse = EventDimse(association, self.server.service)
        association.dul.event_queue.get_nowait()  # "connected", said by the socket that is replaced here
        association.dul.socket = EventSocket(
            association,
            self.request,
            received=self.received,
            buffer_bytes=PDU_HEADER.size + self.ae.maximum_pdu_size,
            pdu_limit_bytes=max(self.ae.maximum_pdu_size, MIN_PDU_LIMIT_BYTES),
            take=dimse.take,
        )
        association.dul._run_loop_delay = 0.0  # noqa: SLF001  # the transport waits instead
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
