"""P-DATA as it comes: cut anywhere, joined anyhow, larger than the buffer (PS3.8 9.3.5, E.2)."""

from __future__ import annotations

import socket
import struct

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from listener.reactor import MIN_PDU_LIMIT_BYTES
from tests.listener import wire
from tests.listener.running import Listener
from tests.listener.samples import encode, make_ct
from tests.peers.programs import wait_until

SUCCESS = b"\0\0\0\x09\x02\0\0\0\0\0"  # (0000,0900), two bytes, 0
A_ABORT = 7


def answered(port: int, stream: bytes, *, answers: int = 1, piece_bytes: int = 0, most: int = 16384) -> bytes:
    """Send what follows an A-ASSOCIATE-RQ, and return what comes back until so many answers, or an abort, are there."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(wire.associate_rq(max_pdu_bytes=most))
        assert connection.recv(65536)[0] == 2  # A-ASSOCIATE-AC
        for start in range(0, len(stream), piece_bytes or len(stream)):
            connection.sendall(stream[start : start + (piece_bytes or len(stream))])
        came = b""
        while came.count(SUCCESS) < answers and (more := connection.recv(65536)):
            came += more
            if came[0] == A_ABORT:
                break
        return came


def one_pdu(*values: tuple[bytes, bool, bool]) -> bytes:
    """Return a P-DATA-TF PDU of several values: fragment, whether of a command, whether the last."""
    items = [
        struct.pack(">IBB", len(value) + 2, wire.CONTEXT_ID, command | last << 1) + value
        for value, command, last in values
    ]
    return wire.pdu(4, b"".join(items))


@pytest.mark.parametrize("piece_bytes", [1, 5, 7, 100])
def test_pdus_may_come_in_pieces(listener: Listener, piece_bytes: int) -> None:
    """However TCP cuts a C-STORE, it is stored as it was sent."""
    ds = make_ct()
    stream = b"".join(wire.store(ds, encode(ds), fragment_bytes=300))
    assert SUCCESS in answered(listener.port, stream, piece_bytes=piece_bytes)
    (path,) = listener.spooled()
    assert path.read_bytes().endswith(encode(ds))


def test_many_pdus_may_come_at_once(listener: Listener) -> None:
    """Requests that follow each other without waiting for answers are answered one by one."""
    slices = [make_ct() for _ in range(20)]
    stream = b"".join(part for ds in slices for part in wire.store(ds, encode(ds), fragment_bytes=900))
    assert answered(listener.port, stream, answers=20).count(SUCCESS) == 20
    assert {path.stem for path in listener.spooled()} == {ds.SOPInstanceUID for ds in slices}


def test_command_and_data_set_may_share_a_pdu(listener: Listener) -> None:
    """A PDU may carry the command set and the whole data set, or several fragments."""
    ds = make_ct()
    data = encode(ds)
    stream = one_pdu((wire.store_command(ds), True, True), (data[:100], False, False), (data[100:], False, True))
    assert SUCCESS in answered(listener.port, stream)
    (path,) = listener.spooled()
    assert path.read_bytes().endswith(data)


@pytest.mark.parametrize("pixels", [300_000, 700_000, 900_000, 3_000_000])
def test_pdus_and_data_sets_larger_than_a_buffer(listener: Listener, pixels: int) -> None:
    """Fragments of up to a megabyte and data sets of any size are stored as they were sent."""
    ds = make_ct(PixelData=bytes(range(256)) * (pixels // 256))
    for fragment_bytes in (MIN_PDU_LIMIT_BYTES - 6, 250_001):
        stream = b"".join(wire.store(ds, encode(ds), fragment_bytes=fragment_bytes))
        assert SUCCESS in answered(listener.port, stream)
        (path,) = listener.spooled()
        assert path.read_bytes().endswith(encode(ds))
        path.unlink()


def test_a_header_longer_than_the_first_fragment(listener: Listener) -> None:
    """Where the first fragment ends within the header, the instance is filed all the same."""
    ds = make_ct()
    for fragment_bytes in (10, 200, 470):
        assert SUCCESS in answered(listener.port, b"".join(wire.store(ds, encode(ds), fragment_bytes=fragment_bytes)))
    assert [path.stem for path in listener.spooled()] == [ds.SOPInstanceUID]


def broken(ds: Dataset) -> dict[str, bytes]:
    """Return streams that no sender should send."""
    command, data = wire.store_command(ds), encode(ds)
    begun = wire.p_data(command, command=True, last=True)
    foreign = bytearray(begun)
    foreign[10] = 99
    return {
        "another context": bytes(foreign) + wire.p_data(data, command=False, last=True),
        "a command in the middle": begun + wire.p_data(data[:100], command=False, last=False) + begun,
        "more behind the end": one_pdu((command, True, True), (data, False, True), (data, False, True)),
        "a value of nothing": begun + wire.pdu(4, struct.pack(">IB", 1, wire.CONTEXT_ID)),
        "a value too long": begun + wire.pdu(4, struct.pack(">IBB", 1 << 30, wire.CONTEXT_ID, 0) + data),
        "nothing": begun + wire.pdu(4, b""),
    }


@pytest.mark.parametrize("what", broken(make_ct()))
def test_what_is_no_message_ends_the_association(listener: Listener, what: str) -> None:
    """P-DATA against the rules is answered with an A-ABORT; nothing is listed, and the next sender is served."""
    assert answered(listener.port, broken(make_ct())[what])[0] == A_ABORT
    assert listener.spooled() == []
    assert listener.send(make_ct()) == 0
    wait_until(lambda: len(listener.spooled()) == 1)


def test_a_peer_that_takes_small_pdus_gets_small_ones(listener: Listener) -> None:
    """The answer is cut as the peer has asked (PS3.8 D.1)."""
    ds = make_ct(SOPInstanceUID="1.2." + "3" * 60)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as connection:
        connection.sendall(wire.associate_rq(max_pdu_bytes=128))
        assert connection.recv(65536)[0] == 2
        connection.sendall(b"".join(wire.store(ds, encode(ds))))
        command = b""
        last = False
        while not last:
            kind, length = struct.unpack(">BxI", connection.recv(6, socket.MSG_WAITALL))
            assert kind == 4
            assert length <= 128
            value = connection.recv(length, socket.MSG_WAITALL)
            assert value[4] == wire.CONTEXT_ID
            command += value[6:]
            last = bool(value[5] & 2)
    assert SUCCESS in command
    assert ds.SOPInstanceUID.encode() in command


@pytest.mark.parametrize("sent_bytes", [3, 10, 60, 5_000, 150_000])
def test_a_peer_that_stops_in_the_middle_is_logged(listener: Listener, sent_bytes: int) -> None:
    """A P-DATA that never becomes whole, small or large, is a line in the log and nothing on the disk."""
    ds = make_ct(PixelData=bytes(300_000))
    command, *fragments = wire.store(ds, encode(ds), fragment_bytes=200_000)
    with capture_logs() as logs:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as connection:
            connection.sendall(wire.associate_rq())
            assert connection.recv(65536)[0] == 2
            connection.sendall(command + fragments[0][:sent_bytes])
        wait_until(lambda: any(line["event"] == "association_broken" for line in logs), what="the line")
    assert listener.spooled() == []
