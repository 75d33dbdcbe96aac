"""The DIMSE listener against pynetdicom's SCU and against peers that misbehave."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    AllTransferSyntaxes,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    MRImageStorage,
)
from pynetdicom import ALL_TRANSFER_SYNTAXES
from pynetdicom.dimse_primitives import C_STORE
from sqlalchemy import select

from ichor.catalogue.schema import Event, Instance, Series
from ichor.errors import StartError
from ichor.sections import DicomSettings
from ichor.settings import Settings
from listener.admission import ACCEPTED_TRANSFER_SYNTAXES
from listener.dimse import run_listener, serving
from listener.receipt import Receiver
from tests.listener import wire
from tests.listener.running import Listener
from tests.listener.samples import encode, make_ct
from tests.peers.programs import wait_until


def counts(listener: Listener) -> dict[str, int]:
    """Return how many instances each series has in the catalogue."""
    with listener.catalogue.read() as session:
        return {row.series_instance_uid: row.instance_count for row in session.scalars(select(Series))}


def store_bytes(listener: Listener, data: bytes, sop_instance_uid: str, sop_class_uid: str = CTImageStorage) -> int:
    """Send any bytes as the data set of a C-STORE of a CT; return the status."""
    with listener.association() as association:
        request = C_STORE()
        request.MessageID = 1
        request.AffectedSOPClassUID = sop_class_uid
        request.AffectedSOPInstanceUID = sop_instance_uid
        request.Priority = 2
        request.DataSet = BytesIO(data)
        context = next(cx for cx in association.accepted_contexts if cx.abstract_syntax == CTImageStorage)
        association._reactor_checkpoint.clear()
        while not association._is_paused:
            time.sleep(0.001)
        assert context.context_id is not None
        association.dimse.send_msg(request, context.context_id)
        _, answer = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert isinstance(answer, C_STORE)
        assert answer.Status is not None
        return answer.Status


def test_answers_an_echo(listener: Listener) -> None:
    """C-ECHO succeeds."""
    with listener.association() as association:
        assert association.send_c_echo().Status == 0


def test_stores_and_catalogues_a_series(listener: Listener) -> None:
    """A series sent in one association lies in the spool and, a moment later, in the catalogue."""
    slices = [make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", InstanceNumber=n) for n in range(10)]
    with listener.association() as association:
        for ds in slices:
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            assert association.send_c_store(ds).Status == 0
    assert len(listener.spooled()) == 10
    wait_until(lambda: counts(listener) == {"1.2.3": 10})


def test_one_association_per_slice_and_interleaved_series(listener: Listener) -> None:
    """Slices of two series, alternating, each in an association of its own, all arrive."""
    for number in range(6):
        series = f"1.2.{number % 2}"
        assert listener.send(make_ct(StudyInstanceUID="1.2", SeriesInstanceUID=series)) == 0
    wait_until(lambda: counts(listener) == {"1.2.0": 3, "1.2.1": 3})


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, HTJ2KLossless, "1.2.840.10008.1.2.4.66"])
def test_stores_every_transfer_syntax_as_received(listener: Listener, syntax: str) -> None:
    """The data set's bytes are kept as they came, also where nothing here could decode them."""
    if syntax == ImplicitVRLittleEndian:
        ds = make_ct()
    else:
        ds = make_ct(PixelData=encapsulate([b"\xff\x4f" + bytes(998)]))
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    assert listener.send(ds, transfer_syntaxes=(syntax,)) == 0
    (path,) = listener.spooled()
    assert path.read_bytes().endswith(
        encode(ds, syntax if syntax == ImplicitVRLittleEndian else ExplicitVRLittleEndian)
    )
    wait_until(lambda: len(counts(listener)) == 1)
    with listener.catalogue.read() as session:
        assert session.scalars(select(Instance.transfer_syntax_uid)).one() == syntax


def test_every_known_transfer_syntax_is_accepted() -> None:
    """Whatever pynetdicom or pydicom name as a transfer syntax is negotiated."""
    assert set(ALL_TRANSFER_SYNTAXES) | set(AllTransferSyntaxes) <= set(ACCEPTED_TRANSFER_SYNTAXES)


def test_uncompressed_is_preferred(listener: Listener) -> None:
    """Of several transfer syntaxes in one context, an uncompressed one is chosen."""
    offered = ("1.2.840.10008.1.2.4.51", ImplicitVRLittleEndian, ExplicitVRLittleEndian)
    with listener.association(transfer_syntaxes=offered) as association:
        (context,) = [cx for cx in association.accepted_contexts if cx.abstract_syntax == CTImageStorage]
        assert context.transfer_syntax == [ExplicitVRLittleEndian]


def test_other_classes_are_not_negotiated(listener: Listener) -> None:
    """A context for MR images is rejected, the others of the association are not."""
    with listener.association((MRImageStorage, EnhancedCTImageStorage)) as association:
        accepted = {cx.abstract_syntax for cx in association.accepted_contexts}
    assert MRImageStorage not in accepted
    assert EnhancedCTImageStorage in accepted


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # pydicom, of the path on the sender's side
@pytest.mark.parametrize(
    ("data", "uid", "sop_class_uid", "status"),
    [
        (b"this is no data set", "1.2.3", CTImageStorage, 0xC000),
        (encode(make_ct(SOPInstanceUID="1.2.3"))[:-100], "1.2.3", CTImageStorage, 0xC000),
        (encode(make_ct(SOPInstanceUID="1.2.3")), "1.2.4", CTImageStorage, 0xA900),
        (encode(make_ct(SOPInstanceUID="1.2.3")), "1.2.3", EnhancedCTImageStorage, 0xA900),
        (encode(make_ct(SOPInstanceUID="1.2.3")), "1.2.3", MRImageStorage, 0x0122),
        (encode(make_ct(SOPInstanceUID="1.2.3")).replace(b"1.2.3\0", b"../../"), "../../", CTImageStorage, 0xC000),
        (encode(make_ct(SOPInstanceUID="1.2.3", StudyInstanceUID=None)), "1.2.3", CTImageStorage, 0xC000),
    ],
)
def test_bad_instances_get_their_status(
    listener: Listener, data: bytes, uid: str, sop_class_uid: str, status: int
) -> None:
    """What is not understood, announced as something else or not taken gets its status, and leaves no file."""
    assert store_bytes(listener, data, uid, sop_class_uid) == status
    assert listener.spooled() == []


def test_a_refusal_does_not_end_the_association(listener: Listener) -> None:
    """After a refused instance the next one of the same association is stored."""
    bad, good = make_ct(Modality="CT"), make_ct()
    bad.StudyInstanceUID = ""
    with listener.association() as association:
        for ds, status in ((bad, 0xC000), (good, 0)):
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            assert association.send_c_store(ds).Status == status


def test_a_full_disk_is_told_to_the_sender(settings: Settings, listener: Listener) -> None:
    """Below the disk's reserve the sender gets A700, and an echo still works."""
    receiver = Receiver(listener.receiver.store, _Deaf(), min_free_bytes=1, free_bytes=lambda: 0)
    with serving(settings.dicom, receiver) as server:
        full = Listener(int(server.server_address[1]), settings, listener.catalogue, receiver)
        assert full.send(make_ct()) == 0xA700
        with full.association() as association:
            assert association.send_c_echo().Status == 0


class _Deaf:
    def submit(self, filing: object) -> None:
        """Forget it."""


def test_a_taken_port_is_one_sentence(settings: Settings, listener: Listener) -> None:
    """A second listener on the same port does not start, and says why."""
    taken = settings.model_copy(update={"dicom": DicomSettings(port=listener.port)})
    with pytest.raises(StartError, match=rf"cannot use 127\.0\.0\.1 port {listener.port}: .*in use\.$"):
        run_listener(taken, stop=threading.Event(), on_ready=lambda: None)


def test_runs_until_told_to_stop(settings: Settings) -> None:
    """`run_listener` says when it is ready, and returns soon after it is told to stop."""
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: run_listener(settings, stop=stop, on_ready=ready.set))
    thread.start()
    assert ready.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_the_association_limit_rejects_transiently(settings: Settings, listener: Listener) -> None:
    """One association more than allowed is rejected; bare connections do not count."""
    few = DicomSettings(port=0, max_associations=2, artim_timeout_s=5)
    with serving(few, listener.receiver) as server, ExitStack() as stack:
        port = int(server.server_address[1])
        limited = Listener(port, settings, listener.catalogue, listener.receiver)
        for _ in range(5):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        for _ in range(2):
            stack.enter_context(limited.association())
        with pytest.raises(AssertionError), limited.association():
            pass


def test_bare_connections_cost_nothing_that_stays(listener: Listener) -> None:
    """Connections that close without a word, as health checks do, leave no thread; an echo meanwhile is answered."""
    before = threading.active_count()
    for _ in range(60):
        socket.create_connection(("127.0.0.1", listener.port)).close()
    with ExitStack() as held:
        for _ in range(60):
            held.enter_context(socket.create_connection(("127.0.0.1", listener.port)))
        with listener.association() as association:
            assert association.send_c_echo().Status == 0
        wait_until(lambda: threading.active_count() <= before)


def test_stops_while_silent_connections_are_open(listener: Listener) -> None:
    """A peer that connected and has said nothing does not hold up a stop, and no thread ends in an error over it."""
    patient = listener.settings.dicom.model_copy(update={"artim_timeout_s": 60})
    before = threading.active_count()
    with ExitStack() as held:
        with serving(patient, listener.receiver) as server:
            for _ in range(5):
                held.enter_context(socket.create_connection(("127.0.0.1", server.server_address[1])))
            assert threading.active_count() == before + 1  # the lobby's, whoever waits in it
        wait_until(lambda: threading.active_count() <= before)


def associated(port: int, **asked: Any) -> socket.socket:
    """Open an association by hand, with what is asked for as context 1; else Explicit VR Little Endian for CT."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(wire.associate_rq(**asked))
    assert connection.recv(65536)[0] == 2  # A-ASSOCIATE-AC
    return connection


def ended(connection: socket.socket) -> bool:
    """Say whether the other side ends the connection, with or without an A-ABORT."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">BBI", 4, 0, 1000) + bytes(10),  # stops in the middle of a P-DATA
        struct.pack(">BBI", 4, 0, 0xFFFFFFF0),  # announces 4 GiB
        struct.pack(">BBI", 9, 0, 4) + bytes(4),  # no such PDU
        struct.pack(">BBI", 4, 0, 10) + bytes(10),  # a P-DATA that is none
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_peer_that_breaks_the_protocol_is_dropped(listener: Listener, sent: bytes) -> None:
    """Broken, endless and unfinished PDUs end the association in bounded time, and nothing else."""
    with associated(listener.port) as connection:
        connection.sendall(sent)
        assert ended(connection)
    assert listener.send(make_ct()) == 0


def test_a_silent_association_is_ended(listener: Listener) -> None:
    """An association that says nothing is ended after the idle timeout, two seconds in this test."""
    with associated(listener.port) as connection:
        connection.settimeout(60)
        started = time.monotonic()
        assert ended(connection)
        assert time.monotonic() - started > 1.5


def test_a_broken_off_data_set_is_never_listed(listener: Listener) -> None:
    """A sender that dies in the middle of an instance leaves nothing behind."""
    ds = make_ct()
    with associated(listener.port) as connection:
        for part in wire.store(ds, encode(ds), fragment_bytes=200)[:2]:
            connection.sendall(part)
    time.sleep(0.3)
    assert listener.spooled() == []


def test_a_command_set_in_two_fragments_is_understood(listener: Listener) -> None:
    """A peer may cut a command set as it cuts a data set (PS3.8 E.2)."""
    ds = make_ct()
    command = wire.store_command(ds)
    with associated(listener.port) as connection:
        connection.sendall(wire.p_data(command[:50], command=True, last=False))
        connection.sendall(wire.p_data(command[50:], command=True, last=True))
        for part in wire.store(ds, encode(ds))[1:]:
            connection.sendall(part)
        wait_until(lambda: len(listener.spooled()) == 1)
        assert connection.recv(65536)[0] == 4  # P-DATA-TF: the answer
    (path,) = listener.spooled()
    assert path.read_bytes().endswith(encode(ds))


def released(listener: Listener) -> dict[str, int]:
    """Give the series of which a release was noted, and how many instances they held then."""
    with listener.catalogue.read() as session:
        rows = session.scalars(select(Event).where(Event.name == "series_released"))
        return {row.subject_key: row.detail["instances"] for row in rows}


def test_a_release_is_noted_after_all_that_it_brought(listener: Listener) -> None:
    """The end of an association that brought a series is told to the catalogue; that of a single slice is not."""
    series = [make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", InstanceNumber=n) for n in range(12)]
    with listener.association() as association:
        for ds in series:
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            assert association.send_c_store(ds).Status == 0
    for number in range(9):
        listener.send(make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.4", InstanceNumber=number))
    wait_until(lambda: bool(released(listener)))
    assert released(listener) == {"1.2.3": 12}


def test_an_association_that_breaks_off_releases_nothing(listener: Listener) -> None:
    """An abort says nothing about what the sender still has."""
    with listener.association() as association:
        for number in range(10):
            ds = make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", InstanceNumber=number)
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            assert association.send_c_store(ds).Status == 0
        association.abort()
    assert listener.send(make_ct()) == 0
    wait_until(lambda: len(listener.spooled()) == 11)
    assert released(listener) == {}
