"""Broken input by the thousand: no process dies, and nothing partial is ever listed as received.

`make fuzz` runs 20,000 cases; every case comes from its number alone, so that one that fails can be run again.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian
from sqlalchemy import select

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Instance
from ichor.sections import DicomSettings
from ichor.settings import Settings
from listener.header import read_header
from listener.part10 import Provenance, read_file_meta
from tests.listener import wire
from tests.listener.nodes import ListenProcess
from tests.listener.running import Sender
from tests.listener.samples import encode, make_ct
from tests.peers.programs import free_port, wait_until

CASES = int(os.environ.get("FUZZ_CASES", "500"))
SENDERS = 8
EVERY_NTH_IS_GOOD = 10
DEFLATED = "1.2.840.10008.1.2.1.99"
BYTES_WORTH_TRYING = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\0\0\0\0", b"../../", b"\r\n\r\n")


def mangled(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to four faults: flipped, cut, doubled, left out, overwritten, wrong lengths."""
    content = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        fault = chance.randrange(6)
        if fault == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif fault == 1:
            del content[at:]
        elif fault == 2:
            content[at:at] = content[max(0, at - chance.randint(1, 64)) : at]
        elif fault == 3:
            del content[at : at + chance.randint(1, 64)]
        elif fault == 4:
            piece = chance.choice(BYTES_WORTH_TRYING)
            content[at : at + len(piece)] = piece
        else:
            content[at:at] = chance.randbytes(chance.randint(1, 64))
    return bytes(content)


def case(number: int) -> list[bytes]:  # noqa: PLR0911  # one for each kind of fault
    """Return what a broken peer sends, in the pieces in which it sends it."""
    chance = random.Random(number)
    ds = make_ct(
        StudyInstanceUID=f"1.2.{chance.randrange(4)}",
        SeriesInstanceUID=f"1.2.3.{chance.randrange(4)}",
        SOPInstanceUID=f"1.2.3.4.{number}",
    )
    data = encode(ds)
    request = wire.associate_rq()
    match chance.randrange(8):
        case 0:
            return [chance.randbytes(chance.randint(0, 300))]
        case 1:
            return [mangled(request, chance)]
        case 2:  # a data set that is broken, in sound PDUs
            return [request, *wire.store(ds, mangled(data, chance), fragment_bytes=chance.randint(1, 2000))]
        case 3:  # a command set that is broken
            command = wire.p_data(mangled(wire.store_command(ds), chance), command=True, last=True)
            return [request, command, *wire.store(ds, data)[1:]]
        case 4:  # PDUs lost, doubled, out of order
            pdus = [*wire.store(ds, data, fragment_bytes=200), wire.RELEASE_RQ]
            return [request, *chance.choices(pdus, k=chance.randint(1, 2 * len(pdus)))]
        case 5:  # stops somewhere
            stream = request + b"".join(wire.store(ds, data, fragment_bytes=chance.randint(50, 2000)))
            return [stream[: chance.randrange(len(stream))]]
        case 6:  # another encoding than was negotiated
            request = wire.associate_rq(transfer_syntax_uid=DEFLATED, sop_class_uid=EnhancedCTImageStorage)
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            packed = packer.compress(data + bytes(chance.randrange(1 << 20))) + packer.flush()
            return [request, *wire.store(ds, mangled(packed, chance))]
        case _:  # anything anywhere
            stream = request + b"".join(wire.store(ds, data)) + wire.RELEASE_RQ
            return [mangled(stream, chance)]


def send(port: int, number: int) -> None:
    """Play one case, and wait until the listener has ended it."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for piece in case(number):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


@pytest.mark.integration
def test_broken_peers_break_nothing(tmp_path: Path) -> None:
    """Among broken peers good senders are served; what is listed is there, whole, and nothing else is."""
    dicom = DicomSettings(port=free_port(), idle_timeout_s=20, artim_timeout_s=5)
    settings = Settings(data_dir=tmp_path / "data", dicom=dicom)
    settings.data_dir.mkdir()
    good = {number: make_ct(SOPInstanceUID=f"1.2.9.{number}") for number in range(0, CASES, EVERY_NTH_IS_GOOD)}

    def play(number: int) -> None:
        send(dicom.port, number)
        if number in good:
            assert Sender(dicom.port).send(good[number]) == 0, number

    node = ListenProcess(settings)
    node.start()
    try:
        acceptors = node.acceptors()
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(play, range(CASES)))
        assert node.answers()
        assert [one.pid for one in node.acceptors()] == [one.pid for one in acceptors]
        spooled = sorted((settings.data_dir / "spool").rglob("*.dcm"))
        catalogue = Catalogue.open(settings.resolved_catalogue_url)
        wait_until(lambda: listed(catalogue) == {str(path) for path in spooled}, timeout_s=60, what="the rows")
        catalogue.close()
    finally:
        node.stop()
    assert {f"1.2.9.{number}" for number in good} <= {path.stem for path in spooled}
    for path in spooled:
        assert_whole(path)
    assert list((settings.data_dir / "inbox").rglob("*")) == []  # nothing half-written stays behind


def listed(catalogue: Catalogue) -> set[str]:
    """Return the files that the catalogue lists."""
    with catalogue.read() as session:
        return set(session.scalars(select(Instance.path)))


def assert_whole(path: Path) -> None:
    """Check that a spooled file holds the data set that it says, and that the data set goes to its end."""
    content = memoryview(path.read_bytes())
    meta = read_file_meta(content)
    assert meta.private_information is not None
    data = content[meta.data_set_start :]
    assert hashlib.sha256(data).hexdigest() == Provenance.from_json(meta.private_information).sha256
    header = read_header(data, meta.transfer_syntax_uid)
    assert header.sop_instance_uid == path.stem
    assert meta.sop_class_uid in {CTImageStorage, EnhancedCTImageStorage}
    assert meta.transfer_syntax_uid in {ExplicitVRLittleEndian, DEFLATED}
