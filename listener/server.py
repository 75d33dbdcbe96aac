"""The associations of one acceptor process: pynetdicom's server, fed by the lobby instead of by its own accept loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from listener.admission import STORED_CLASSES
from listener.callers import DISK_LOW, LIMIT_REACHED, Call, Callers
from listener.lobby import Lobby
from listener.reactor import EventRequestHandler
from listener.transport import EventSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.association import Association

    from ichor.metrics import NodeMetrics
    from ichor.sections import DicomSettings
    from listener.lobby import Caller, Door
    from listener.seats import Seats
    from listener.store_service import StoreService

log = structlog.get_logger(__name__)

DRAIN_S = 5.0
"""How long open associations may go on after the listener was told to stop."""
END_S = 1.0


class SharedContexts(list[PresentationContext]):
    """Presentation contexts that all associations share: negotiation reads them only, and a copy takes 12 ms."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedContexts:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the server asks before it lets anybody in, and where data sets go."""

    settings: DicomSettings
    callers: Callers
    seats: Seats
    metrics: NodeMetrics
    service: StoreService
    has_room: Callable[[], bool]


class EventServer(ThreadedAssociationServer):
    """Starts associations for the connections that come out of the lobby; owns no socket itself."""

    def __init__(
        self, ae: ApplicationEntity, doors: Sequence[Door], house: House, handlers: list[evt.EventHandlerType]
    ) -> None:
        self._house = house
        self._address = doors[0].listening.getsockname()
        self.ports = tuple(int(door.listening.getsockname()[1]) for door in doors)
        """Plain and TLS, as they were bound."""
        handlers = [*handlers, (evt.EVT_REQUESTED, self._on_requested), (evt.EVT_CONN_CLOSE, self._on_close)]
        super().__init__(
            ae, self._address, ae.ae_title, SharedContexts(ae.supported_contexts), None, handlers, EventRequestHandler
        )
        house.metrics.associations_open.labels("dimse").set_function(self._open_associations)
        self._lobby = Lobby(
            doors,
            self._welcome,
            artim_s=house.settings.artim_timeout_s,
            defer=house.seats.busier_than_another,
            on_count=self._count,
        )

    @property
    def service(self) -> StoreService:
        """Where the data sets of C-STOREs go."""
        return self._house.service

    def server_bind(self) -> None:
        """Take the address of the first door; the doors are bound already, perhaps by another process."""
        self.socket.close()  # type: ignore[union-attr]  # made by socketserver, never bound
        self.server_address = self._address

    def server_activate(self) -> None:
        """Listen nowhere: the lobby does."""

    def start(self) -> None:
        """Let callers in."""
        self._lobby.start()

    def stop(self) -> None:
        """Accept nothing new, let open associations finish for a moment, then end what is left."""
        self._lobby.close()
        until = time.monotonic() + DRAIN_S
        while self.active_associations and time.monotonic() < until:
            time.sleep(0.02)
        left = self.active_associations
        for association in left:
            association.abort(block=False)
        for association in left:
            association.join(END_S)
        self._house.seats.put(associations=0, waiting=0)

    def _welcome(self, caller: Caller) -> None:
        self.finish_request((caller.received, caller.connection), caller.address)

    def _count(self, waiting: int) -> None:
        self._house.seats.put(associations=self._open_associations(), waiting=waiting)

    def _open_associations(self, besides: Association | None = None) -> int:
        ended = ("is_released", "is_aborted", "is_rejected")  # the threads take a moment longer
        return sum(
            one is not besides and one.requestor.primitive is not None and not any(getattr(one, how) for how in ended)
            for one in self.active_associations
        )

    def _on_requested(self, event: evt.Event) -> None:
        """Let in, or send the A-ASSOCIATE-RJ that says why not (PS3.8 7.1.1.7, 9.3.4)."""
        association = event.assoc
        call = call_of(association)
        rejection = self._house.callers.rejection(call)
        if rejection is None and _wants_to_store(association) and not self._house.has_room():
            rejection = DISK_LOW
        if rejection is None and not self._house.seats.take(self._open_associations(besides=association)):
            rejection = LIMIT_REACHED
        if rejection is None:
            return
        self._house.metrics.associations_refused.labels(rejection.code).inc()
        log.warning(
            "association_refused",
            reason=rejection.code,
            calling_ae=call.calling_ae,
            called_ae=call.called_ae,
            address=call.address,
            tls=call.tls,
        )
        association.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        association.kill()

    def _on_close(self, event: evt.Event) -> None:
        self._house.seats.put(associations=self._open_associations(besides=event.assoc))


def _wants_to_store(association: Association) -> bool:
    """Whether an association is about instances; echoes and answers to commitment requests need no room."""
    request = association.requestor.primitive
    contexts = () if request is None else request.presentation_context_definition_list
    return any(str(context.abstract_syntax) in STORED_CLASSES for context in contexts)


def call_of(association: Association) -> Call:
    """Return what a peer said in its A-ASSOCIATE-RQ, and how it came."""
    request = association.requestor.primitive
    transport = association.dul.socket
    return Call(
        calling_ae=str(request.calling_ae_title).strip() if request is not None else "",
        called_ae=str(request.called_ae_title).strip() if request is not None else "",
        address=association.requestor.address,
        tls=isinstance(transport, EventSocket) and transport.encrypted,
    )
