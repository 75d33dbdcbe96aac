"""Connections before they ask for an association: they wait in a bounded room, whatever they send."""

from __future__ import annotations

import os
import socket
import struct
import threading
from contextlib import ExitStack

import pytest

from listener.dimse import serving
from listener.lobby import A_ABORT, MAX_GUESTS
from listener.seats import Seats, shared_seats
from tests.listener import wire
from tests.listener.running import Listener, Sender


def test_more_bare_connections_than_there_is_room_for(listener: Listener) -> None:
    """The one that has waited longest goes, senders are served meanwhile, and no thread is started for any of them."""
    patient = listener.settings.dicom.model_copy(update={"artim_timeout_s": 300})
    before = threading.active_count()
    with serving(patient, listener.receiver) as server, ExitStack() as held:
        port = server.ports[0]
        waiting = [
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(MAX_GUESTS + 20)
        ]
        assert all(one.recv(1) == b"" for one in waiting[:20])
        assert threading.active_count() == before + 1
        with Sender(port).association() as association:
            assert association.send_c_echo().Status == 0
        waiting[-1].sendall(wire.associate_rq())
        assert waiting[-1].recv(65536)[0] == 2  # it may still ask


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_request_may_come_in_pieces(listener: Listener, size: int) -> None:
    """However the A-ASSOCIATE-RQ and what follows are cut, they are understood."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for stream, answer in ((wire.associate_rq(), 2), (wire.RELEASE_RQ, 6)):
            for start in range(0, len(stream), size):
                connection.sendall(stream[start : start + size])
            assert connection.recv(65536)[0] == answer


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">BBI", 1, 0, 1 << 30), wire.RELEASE_RQ])
def test_what_is_no_request_is_answered_with_an_abort(listener: Listener, sent: bytes) -> None:
    """Another protocol, another PDU, a request of a gigabyte: A-ABORT and the end (PS3.8 Table 9-10, Sta2)."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as connection:
        connection.sendall(sent)
        assert connection.recv(65536) == A_ABORT


def test_seats_hold_for_all_processes_together() -> None:
    """Of three places for two processes, whoever comes first gets them; a process that died gives its own back."""
    descriptor = shared_seats(2)
    first = Seats(limit=3, descriptor=os.dup(descriptor), number=0, processes=2)
    second = Seats(limit=3, descriptor=os.dup(descriptor), number=1, processes=2)
    assert [first.take(0), second.take(0), first.take(1)] == [True, True, True]
    assert not second.take(1)
    assert first.busier_than_another()
    assert not second.busier_than_another()
    second.empty(0)
    assert second.take(1)
    first.close()
    second.close()
    os.close(descriptor)
