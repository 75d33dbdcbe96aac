"""Connections that have not asked for an association yet: one thread for all of them, and no pynetdicom object.

A connection costs its descriptor and a few hundred bytes until its whole A-ASSOCIATE-RQ is here; only then the threads
of an association are started. A TLS handshake goes on step by step, as its records come, so that a peer that stays
silent in the middle of one holds up nobody. Whoever says nothing in time is hung up on (PS3.8 9.1.5, ARTIM); where
there are too many, the one that has waited longest goes first.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = structlog.get_logger(__name__)

MAX_GUESTS = 256
"""A sender asks within milliseconds of its connection; nobody waits here but scanners of ports and broken peers."""
MAX_REQUEST_BYTES = 1 << 18
"""An A-ASSOCIATE-RQ with 128 contexts of 60 transfer syntaxes has some 200 kB."""
MAX_WAITING_BYTES = 1 << 24
"""All unfinished requests together."""
ACCEPT_BATCH = 64
"""Connections that are accepted in a row before the waiting ones get their turn."""
DEFER_S = 0.003
"""How long a process lets others go first that have fewer associations."""
TICK_S = 0.25
TELL_S = 5.0
"""Dropped connections are counted, and told of once in this time: a scan of ports must not fill a log."""
PDU_HEADER_BYTES = 6
A_ASSOCIATE_RQ = 0x01
A_ABORT = bytes((0x07, 0, 0, 0, 0, 4, 0, 0, 0, 0))
"""PS3.8 9.3.8, source 0 (service user): the answer to anything else on a new connection (Table 9-10, Sta2, AA-1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A listening socket, and the TLS context of its connections where it has one."""

    listening: socket.socket
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A connection whose A-ASSOCIATE-RQ is here."""

    connection: socket.socket
    address: Any
    received: bytes
    """What was read of it: the request, and what may have come after it."""


@dataclass(slots=True, eq=False)
class _Guest:
    connection: socket.socket
    address: Any
    until_s: float
    shaking_hands: bool
    received: bytearray = field(default_factory=bytearray)


class Lobby:
    """Accepts at some doors and hands on who asks for an association; `close` hangs up on the others.

    `defer` says whether another process should have the next connection; `on_count` hears how many wait here.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        hand_on: Callable[[Caller], None],
        *,
        artim_s: float,
        defer: Callable[[], bool] = lambda: False,
        on_count: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._hand_on = hand_on
        self._artim_s = artim_s
        self._defer = defer
        self._on_count = on_count
        self._guests: dict[_Guest, None] = {}  # in order of arrival
        self._waiting_bytes = 0
        self._dropped: Counter[str] = Counter()
        self._last_dropped: dict[str, str] = {}
        self._told_s = 0.0
        self._selector = selectors.DefaultSelector()
        self._stopping, self._stop = socket.socketpair()
        self._selector.register(self._stopping, selectors.EVENT_READ)
        self._doors = tuple(doors)
        for door in self._doors:
            door.listening.setblocking(False)
            self._selector.register(door.listening, selectors.EVENT_READ, door)
        self._thread = threading.Thread(target=self._run, name="lobby", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Accept nothing more, close the doors and hang up on who waits."""
        self._stop.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            for guest in list(self._guests):
                self._dismiss(guest)
            self._selector.close()
            self._stopping.close()
            for door in self._doors:
                door.listening.close()

    def _turn(self) -> bool:
        """Look after whoever has something to say, and who has said nothing for too long; False at the end."""
        for key, _ in self._selector.select(TICK_S):
            if key.fileobj is self._stopping:
                return False
            if isinstance(key.data, Door):
                self._accept(key.data)
            elif key.data in self._guests:
                self._attend(key.data)
        now_s = time.monotonic()
        while self._guests and (first := next(iter(self._guests))).until_s <= now_s:
            self._dismiss(first, "artim_expired")
        self._on_count(len(self._guests))
        if self._dropped and now_s - self._told_s >= TELL_S:
            log.info("connections_dropped", **self._dropped, last=self._last_dropped)
            self._dropped.clear()
            self._told_s = now_s
        return True

    def _accept(self, door: Door) -> None:
        if self._defer():
            time.sleep(DEFER_S)  # what another process takes now is no longer there afterwards
        for _ in range(ACCEPT_BATCH):
            try:
                connection, address = door.listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE} and self._guests:
                    self._dismiss(next(iter(self._guests)), "too_many_connections")
                    continue
                log.warning("connection_not_accepted", error=error.strerror)
                return
            self._receive(connection, address, door.tls)

    def _receive(self, connection: socket.socket, address: Any, tls: ssl.SSLContext | None) -> None:
        while len(self._guests) >= MAX_GUESTS:
            self._dismiss(next(iter(self._guests)), "too_many_connections")
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # gone already
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        guest = _Guest(connection, address, time.monotonic() + self._artim_s, shaking_hands=tls is not None)
        self._guests[guest] = None
        if tls is not None:
            try:
                guest.connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            except OSError:  # reset between accept and here
                connection.close()
                del self._guests[guest]
                return
        self._selector.register(guest.connection, selectors.EVENT_READ, guest)
        self._attend(guest)  # its request is often here already

    def _attend(self, guest: _Guest) -> None:
        try:
            if guest.shaking_hands and isinstance(guest.connection, ssl.SSLSocket):
                guest.connection.do_handshake()
                guest.shaking_hands = False
                self._selector.modify(guest.connection, selectors.EVENT_READ, guest)
            self._read(guest)
        except (ssl.SSLWantReadError, BlockingIOError):
            self._selector.modify(guest.connection, selectors.EVENT_READ, guest)
        except ssl.SSLWantWriteError:
            self._selector.modify(guest.connection, selectors.EVENT_WRITE, guest)
        except ssl.SSLError as error:
            self._dismiss(guest, "tls_failed", detail=error.reason or type(error).__name__)
        except OSError:
            self._dismiss(guest)

    def _read(self, guest: _Guest) -> None:
        """Read until nothing is left or the request is whole (PS3.8 9.3.1: type, reserved, length in 4 bytes)."""
        while True:
            chunk = guest.connection.recv(65536)
            if not chunk:
                self._dismiss(guest)
                return
            guest.received += chunk
            self._waiting_bytes += len(chunk)
            length = int.from_bytes(guest.received[2:PDU_HEADER_BYTES], "big")
            known = len(guest.received) >= PDU_HEADER_BYTES
            if guest.received[0] != A_ASSOCIATE_RQ or (known and length > MAX_REQUEST_BYTES):
                self._turn_away(guest, "no_association_request")
                return
            if known and len(guest.received) >= PDU_HEADER_BYTES + length:
                self._let_in(guest)
                return
            if self._waiting_bytes > MAX_WAITING_BYTES:
                self._dismiss(guest, "too_many_connections")
                return

    def _let_in(self, guest: _Guest) -> None:
        self._forget(guest)
        caller = Caller(connection=guest.connection, address=guest.address, received=bytes(guest.received))
        try:
            self._hand_on(caller)
        except Exception:
            log.exception("caller_not_handed_on")
            guest.connection.close()

    def _turn_away(self, guest: _Guest, reason: str) -> None:
        """Answer what is no request, and hang up."""
        with contextlib.suppress(OSError):
            guest.connection.send(A_ABORT)
        self._dismiss(guest, reason)

    def _dismiss(self, guest: _Guest, reason: str = "", **facts: str) -> None:
        """Hang up; without a reason the peer has done so itself."""
        self._forget(guest)
        guest.connection.close()
        if reason:
            self._dropped[reason] += 1
            self._last_dropped = {"address": guest.address[0], **facts}

    def _forget(self, guest: _Guest) -> None:
        del self._guests[guest]
        self._waiting_bytes -= len(guest.received)
        self._selector.unregister(guest.connection)
