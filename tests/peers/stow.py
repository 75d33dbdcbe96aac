"""A small DICOMweb service on loopback whose answers a test decides, with TLS and client certificates on request."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pydicom

from tests.peers.programs import LOOPBACK

if TYPE_CHECKING:
    from tests.peers.certificates import Certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a STOW-RS request is answered with; `failure_reason` lists its object as failed."""

    status: int
    failure_reason: int | None = None
    keeps: bool = False
    """The object is there afterwards, or was before, whatever the answer says."""


@dataclass
class StowServer:
    """Stores everything unless `next_answers` says otherwise; shows what it stored unless `query_status` says so."""

    certificates: Certificates | None = None
    next_answers: list[Answer] = field(default_factory=list)
    query_status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    """The DICOM files, as they came."""
    tokens: list[str] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        if self.certificates is not None:
            context = self.certificates.server_context()
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The root of the service."""
        scheme = "http" if self.certificates is None else "https"
        return f"{scheme}://{LOOPBACK}:{self._server.server_address[1]}/dicom-web"

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def store(self, content_type: str, body: bytes) -> tuple[int, Any]:
        """Take one part of a multipart body."""
        boundary = content_type.split("boundary=")[1].encode()
        head, _, rest = body.partition(b"\r\n\r\n")
        assert head == b"--" + boundary + b"\r\nContent-Type: application/dicom"
        file, _, end = rest.rpartition(b"\r\n--" + boundary)
        assert end == b"--\r\n"
        self.bodies.append(file)
        uid = str(pydicom.dcmread(BytesIO(file)).SOPInstanceUID)
        answer = self.next_answers.pop(0) if self.next_answers else Answer(status=200)
        named = {"00081155": {"vr": "UI", "Value": [uid]}}
        if answer.keeps or (answer.status < 300 and answer.failure_reason is None):
            self.stored.add(uid)
        if answer.failure_reason is not None:
            failed = {**named, "00081197": {"vr": "US", "Value": [answer.failure_reason]}}
            return answer.status, {"00081198": {"vr": "SQ", "Value": [failed]}}
        return answer.status, {"00081199": {"vr": "SQ", "Value": [named]}} if answer.status < 300 else None

    def query(self, path: str) -> tuple[int, Any]:
        """Show what is stored under a SOP Instance UID."""
        asked = parse_qs(urlsplit(path).query).get("SOPInstanceUID", [])
        shown = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in asked if uid in self.stored]
        return self.query_status, shown if self.query_status == 200 else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.tokens.append(self.headers.get("Authorization", ""))
                owner.connections.add(self.client_address)
                self._send(*owner.store(self.headers["Content-Type"], body))

            def do_GET(self) -> None:
                self._send(*owner.query(self.path))

            def _send(self, status: int, content: Any) -> None:
                body = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        return Handler
