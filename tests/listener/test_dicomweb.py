"""STOW-RS by httpx and dicomweb-client against a real web server."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import httpx
import pydicom
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import MRImageStorage
from sqlalchemy import select

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Event, Instance
from ichor.metrics import NodeMetrics
from ichor.sections import HttpSettings
from ichor.settings import Settings
from ichor.store import Store
from listener.dicomweb import stow_app
from listener.intake import receiving
from listener.receipt import Receiver
from tests.listener.running import ListRegister
from tests.listener.samples import encode, make_ct, part10
from tests.peers.programs import wait_until

BOUNDARY = "b0undary"
TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@dataclass
class Server:
    """A web server with the application on a free port."""

    url: str
    port: int
    store: Store

    def post(self, parts: list[bytes], path: str = "/studies", **headers: str) -> httpx.Response:
        """Send parts as DICOM files."""
        wanted = {"content-type": TYPE, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post(self.url + path, content=body_of(parts), headers=wanted, timeout=60)

    def spooled(self) -> int:
        """Return how many instances lie in the spool."""
        return len(list(self.store.spool_dir.rglob("*.dcm")))


def body_of(parts: list[bytes], part_type: str = "application/dicom") -> bytes:
    """Return a multipart body."""
    start = f"--{BOUNDARY}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    return b"".join(start + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def serve(app: object, store: Store) -> Iterator[Server]:
    """Run an application in uvicorn while the test goes on."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    wait_until(lambda: server.started)
    yield Server(f"http://127.0.0.1:{port}", port, store)
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def server(settings: Settings, catalogue: Catalogue) -> Iterator[Server]:
    """The application as the web process holds it."""
    with receiving(settings, catalogue) as receiver:
        yield from serve(stow_app(receiver, NodeMetrics(), HttpSettings()), receiver.store)


def failure_reasons(answer: httpx.Response, sequence: str = "00081198") -> list[int]:
    """Return the failure reasons of an answer."""
    return [item["00081197"]["Value"][0] for item in answer.json()[sequence]["Value"]]


def test_stores_parts_as_they_came(server: Server, catalogue: Catalogue) -> None:
    """Every part lies in the spool with its bytes, and in the catalogue; the answer names them all."""
    slices = [make_ct(StudyInstanceUID="1.2") for _ in range(3)]
    answer = server.post([part10(ds) for ds in slices])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    named = [item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]]
    assert named == [ds.SOPInstanceUID for ds in slices]
    for ds in slices:
        path = server.store.spool_path("1.2", ds.SeriesInstanceUID, ds.SOPInstanceUID)
        assert path.read_bytes().endswith(encode(ds))

    def rows() -> int:
        with catalogue.read() as session:
            return len(session.scalars(select(Instance.id)).all())

    wait_until(lambda: rows() == 3)


def test_dicomweb_client_stores(server: Server) -> None:
    """A client of others can store, and reads the answer."""
    sent = [pydicom.dcmread(BytesIO(part10(make_ct()))) for _ in range(2)]
    answer = DICOMwebClient(url=server.url).store_instances(datasets=sent)
    assert len(answer.ReferencedSOPSequence) == 2
    assert server.spooled() == 2


def test_the_same_again_succeeds(server: Server) -> None:
    """Sending twice stores once."""
    data = part10(make_ct())
    assert [server.post([data, data]).status_code for _ in range(2)] == [200, 200]
    assert server.spooled() == 1


def test_each_part_has_its_own_result(server: Server) -> None:
    """Bad parts are named with their reason and keep no good one out: 202."""
    good, mr = make_ct(), make_ct(SOPClassUID=MRImageStorage)
    answer = server.post([part10(make_ct())[:-100], part10(good), part10(mr), b"no DICOM", b""])
    assert answer.status_code == 202
    assert failure_reasons(answer) == [0xC000, 0x0122]
    assert failure_reasons(answer, "0008119A") == [0xC000, 0xC000]
    assert server.spooled() == 1


def test_instances_of_another_study_are_refused(server: Server) -> None:
    """To /studies/{study} only instances of that study may come: 409 where none does."""
    ds = make_ct(StudyInstanceUID="1.2.3")
    assert server.post([part10(ds)], "/studies/1.2.4").status_code == 409
    assert server.spooled() == 0
    assert server.post([part10(ds)], "/studies/1.2.3").status_code == 200


def test_a_meta_header_of_another_instance_is_refused(server: Server) -> None:
    """File meta information and data set must speak of the same instance."""
    ds = make_ct(SOPInstanceUID="1.2.3")
    answer = server.post([part10(ds).replace(b"1.2.3\0", b"1.2.4\0", 1)])
    assert answer.status_code == 409
    assert failure_reasons(answer) == [0xA900]


@pytest.mark.parametrize("uid", ["../../x", "..", "1.2/../../3", "%2e%2e"])
def test_a_path_that_is_no_study_is_refused(server: Server, uid: str) -> None:
    """What stands for the study in the path must be a UID."""
    assert server.post([part10(make_ct())], f"/studies/{uid.replace('/', '%2F')}").status_code in {400, 404, 405}
    assert server.spooled() == 0


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/dicom", 415),
        ('multipart/related; type="application/dicom+json"; boundary=b0undary', 415),
        ("text/plain", 415),
        ("", 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=other', 400),
    ],
)
def test_other_bodies_are_refused(server: Server, content_type: str, status: int) -> None:
    """A body of another type is 415, one that is not as announced 400."""
    assert server.post([part10(make_ct())], content_type=content_type).status_code == status
    assert server.spooled() == 0


def test_answers_are_json_only(server: Server) -> None:
    """Who accepts XML only is told 406."""
    assert server.post([part10(make_ct())], accept="application/dicom+xml").status_code == 406
    assert server.post([part10(make_ct())], accept="application/dicom+json").status_code == 200


def test_a_body_that_ends_early_leaves_no_part_of_an_instance(server: Server) -> None:
    """A sender that breaks off leaves what was whole, and nothing partial, not even in the folder for parts."""
    body = body_of([part10(make_ct()), part10(make_ct())])[:-300]
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\nContent-Length: {len(body) + 300}\r\n\r\n"
        connection.sendall(head.encode() + body)
    wait_until(lambda: server.spooled() == 1)
    assert list((server.store.data_dir / "incoming").iterdir()) == []
    assert server.post([part10(make_ct())]).status_code == 200


def test_a_truncated_body_is_refused(server: Server) -> None:
    """A body without its closing boundary is 400."""
    body = body_of([part10(make_ct())])[:-8]
    assert httpx.post(server.url + "/studies", content=body, headers={"content-type": TYPE}).status_code == 400


def test_a_full_disk_is_507(store: Store, register: ListRegister) -> None:
    """Below the disk's reserve the request is refused before it is read."""
    receiver = Receiver(store, register, min_free_bytes=1, free_bytes=lambda: 0)
    for server in serve(stow_app(receiver, NodeMetrics(), HttpSettings()), store):
        assert server.post([part10(make_ct())]).status_code == 507


def test_large_parts_come_in_pieces(server: Server) -> None:
    """A 60 MB instance that comes in small pieces, without an announced length, is stored whole."""
    ds = make_ct(Rows=1, Columns=1)
    ds.PixelData = bytes(60_000_000)
    data = part10(ds)
    body = body_of([data])
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    answer = httpx.post(server.url + "/studies", content=pieces, headers={"content-type": TYPE}, timeout=60)
    assert answer.status_code == 200
    path = server.store.spool_path(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert path.read_bytes()[-60_000_000:] == bytes(60_000_000)


def test_the_end_of_a_request_is_noted_as_a_release(server: Server, catalogue: Catalogue) -> None:
    """A request with a series in it says that the sender is done, as the release of an association does."""
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}
    assert server.post([part10(make_ct(**uids)) for _ in range(8)]).status_code == 200
    assert server.post([part10(make_ct(StudyInstanceUID="1.4"))]).status_code == 200

    def released() -> list[str]:
        with catalogue.read() as session:
            return list(session.scalars(select(Event.subject_key).where(Event.name == "series_released")))

    wait_until(lambda: released() == ["1.2.3"])


def test_tokens_are_asked_for_where_there_are_any(store: Store, register: ListRegister) -> None:
    """One of the bearer tokens opens; without it nothing is read: 401."""
    receiver = Receiver(store, register, min_free_bytes=0)
    http = HttpSettings(stow_tokens="first\nsecond\n")  # type: ignore[arg-type]  # as a file holds them
    for server in serve(stow_app(receiver, NodeMetrics(), http), store):
        data = [part10(make_ct())]
        for shown in ("", "Bearer third", "Basic second", "Bearer", "second"):
            answer = server.post(data, authorization=shown)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert server.spooled() == 0
        client = DICOMwebClient(url=server.url, headers={"Authorization": "Bearer second"})
        client.store_instances(datasets=[pydicom.dcmread(BytesIO(data[0]))])
        assert server.spooled() == 1


def test_too_large_requests_are_refused(store: Store, register: ListRegister) -> None:
    """At once where the length is announced, at the limit where it is not: 413, and nothing partial."""
    receiver = Receiver(store, register, min_free_bytes=0)
    http = HttpSettings(stow_max_gb=100_000 / 1e9)
    ds = make_ct(PixelData=bytes(200_000))
    for server in serve(stow_app(receiver, NodeMetrics(), http), store):
        assert server.post([part10(ds)]).status_code == 413
        body = body_of([part10(ds)])
        pieces = (body[start : start + 4096] for start in range(0, len(body), 4096))
        answer = httpx.post(server.url + "/studies", content=pieces, headers={"content-type": TYPE}, timeout=60)
        assert answer.status_code == 413
        assert server.spooled() == 0
        assert server.post([part10(make_ct())]).status_code == 200


def test_a_large_request_never_sits_in_memory(server: Server) -> None:
    """160 MB in one instance take the server less than 16 MB."""
    ds = make_ct(Rows=1, Columns=1)
    ds.PixelData = bytes(1 << 20)
    data = part10(ds).replace((1 << 20).to_bytes(4, "little"), (160 << 20).to_bytes(4, "little"))
    head, tail = body_of([data]).split(bytes(1 << 20))

    def pieces() -> Iterator[bytes]:
        yield head
        megabyte = bytes(1 << 20)
        for _ in range(160):
            yield megabyte
        yield tail

    tracemalloc.start()
    try:
        answer = httpx.post(server.url + "/studies", content=pieces(), headers={"content-type": TYPE}, timeout=120)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 200
    path = server.store.spool_path(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert path.stat().st_size > 160 << 20
    assert peak_bytes < 16 << 20
