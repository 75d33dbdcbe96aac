"""The DIMSE side: C-ECHO and C-STORE as provider (PS3.4 A, B), answers to storage commitment requests (PS3.4 J)."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import structlog
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from ichor.catalogue.beats import beat
from ichor.catalogue.engine import Catalogue
from ichor.errors import TransientError
from ichor.metrics import NodeMetrics, counts_of
from listener.admission import (
    ACCEPTED_TRANSFER_SYNTAXES,
    STATUS_SUCCESS,
    STORED_CLASSES,
    VERIFICATION_CLASS,
)
from listener.callers import Callers
from listener.commitment import COMMITMENT_CLASS, on_report
from listener.doors import bound, listening
from listener.intake import receiving
from listener.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from listener.pledges import Pledges
from listener.release import Consignments
from listener.seats import Seats
from listener.server import EventServer, House, call_of
from listener.store_service import StoreService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ichor.sections import DicomSettings
    from ichor.settings import Settings
    from listener.receipt import Receiver

log = structlog.get_logger(__name__)

BEAT_KIND = "listener"
UNLIMITED = 1 << 30
"""For pynetdicom, which counts the associations of one process only; `Seats` counts those of all."""


def run_listener(
    settings: Settings,
    *,
    stop: threading.Event,
    on_ready: Callable[[], None],
    sockets: Sequence[socket.socket] = (),
    seats: Seats | None = None,
) -> None:
    """Receive until `stop` is set.

    Args:
        settings: of the node.
        stop: set by the entry point's signal handler.
        on_ready: called once the port takes associations.
        sockets: those that another process has bound, in the order of `listener.doors.bound`; none: bind them here.
        seats: shared with the other acceptor processes, where there are any.

    Raises:
        StartError: the port or the data directory cannot be used.
        CatalogueUnreachable: the catalogue does not answer at the start.
    """
    with ExitStack() as stack:
        metrics = NodeMetrics()
        catalogue = Catalogue.open(settings.resolved_catalogue_url)
        stack.callback(catalogue.close)
        receiver = stack.enter_context(receiving(settings, catalogue))
        stack.enter_context(serving(settings.dicom, receiver, catalogue, metrics, sockets=sockets, seats=seats))
        on_ready()
        name = f"{socket.gethostname()}:{os.getpid()}"
        while True:
            try:
                with catalogue.write() as session:
                    beat(session, name, BEAT_KIND, {"counts": counts_of(metrics.registry)})
            except TransientError as error:
                # Receipt goes on without the catalogue; the spool keeps what came.
                log.warning("beat_not_written", code=error.code)
            if stop.wait(settings.jobs.heartbeat_s):
                return


@contextmanager
def serving(
    settings: DicomSettings,
    receiver: Receiver,
    catalogue: Catalogue | None = None,
    metrics: NodeMetrics | None = None,
    *,
    sockets: Sequence[socket.socket] = (),
    seats: Seats | None = None,
) -> Iterator[EventServer]:
    """Serve C-ECHO, C-STORE and, with a catalogue, storage commitment while the block runs.

    Raises:
        StartError: the address cannot be bound, or a certificate cannot be used.
    """
    entity = _entity(settings)
    consignments = Consignments(receiver.released)
    metrics = NodeMetrics() if metrics is None else metrics
    service = StoreService(receiver, metrics, consignments)
    handlers: list[evt.EventHandlerType] = [
        (evt.EVT_C_ECHO, _on_echo),
        (evt.EVT_C_STORE, service.on_store),
        (evt.EVT_RELEASED, _on_released, [consignments]),
    ]
    callers = Callers(settings)
    with ExitStack() as stack:
        if catalogue is not None:
            # PS3.4 J.3.3: the peer opens the association and is provider on it, by role selection (PS3.7 D.3.3.4).
            entity.add_supported_context(COMMITMENT_CLASS, scu_role=True, scp_role=True)
            pledges = Pledges(catalogue, settings, lambda association: callers.entry(call_of(association)))
            pledges.start()
            stack.callback(pledges.close)
            handlers.append((evt.EVT_N_EVENT_REPORT, on_report, [catalogue]))
            handlers.append((evt.EVT_N_ACTION, pledges.on_action))
        if seats is None:
            seats = Seats(limit=settings.max_associations)
            stack.callback(seats.close)
        if not sockets:
            sockets = bound(settings)
        for one in sockets:
            stack.callback(one.close)
        house = House(
            settings=settings,
            callers=callers,
            seats=seats,
            metrics=metrics,
            service=service,
            has_room=receiver.has_room,
        )
        server = EventServer(entity, listening(settings, sockets), house, handlers)
        server.start()
        stack.callback(server.stop)
        log.info("dimse_listening", host=settings.host, ports=server.ports, ae_title=settings.ae_title)
        yield server


def _entity(settings: DicomSettings) -> ApplicationEntity:
    entity = ApplicationEntity(ae_title=settings.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_associations = UNLIMITED
    entity.maximum_pdu_size = settings.max_pdu_bytes
    entity.acse_timeout = settings.artim_timeout_s
    entity.network_timeout = settings.idle_timeout_s
    entity.dimse_timeout = settings.idle_timeout_s
    entity.add_supported_context(VERIFICATION_CLASS)
    for sop_class_uid in STORED_CLASSES:
        entity.add_supported_context(sop_class_uid, ACCEPTED_TRANSFER_SYNTAXES)
    return entity


def _on_echo(event: evt.Event) -> int:
    log.debug("echo_answered", calling_ae=event.assoc.requestor.ae_title)
    return STATUS_SUCCESS


def _on_released(event: evt.Event, consignments: Consignments) -> None:
    consignments.of(event.assoc).release()
