"""A real OHIF viewer: its published build, served from one origin with Orthanc's DICOMweb behind it."""

from __future__ import annotations

import mimetypes
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

from tests.peers.programs import LOOPBACK, missing

if TYPE_CHECKING:
    from tests.peers.orthanc import Orthanc

VERSION = "3.13.2"
ROOT = Path(__file__).resolve().parents[2]
APP_CONFIG = Path(__file__).with_name("app-config.js")
PROXIED = ("/dicom-web", "/wado")
TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".mjs": "text/javascript"}
PASSED_ON = ("Accept", "Content-Type")


def built_viewer() -> Path:
    """Find the built viewer that `make ohif` fetched; without it the test is skipped here and fails in CI."""
    folder = Path(os.environ.get("OHIF_DIST") or ROOT / ".cache" / f"ohif-{VERSION}" / "dist")
    if not (folder / "index.html").is_file():
        missing(f"no OHIF {VERSION} at {folder}; run make ohif")
    return folder


class Ohif:
    """A context manager that serves the viewer on a free loopback port."""

    def __init__(self, dist: Path, orthanc: Orthanc) -> None:
        self._client = httpx.Client(base_url=orthanc.url, timeout=120, trust_env=False)
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(dist, self._client))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where the viewer is."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._client.close()


def _handler(dist: Path, client: httpx.Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def do_GET(self) -> None:
            if self.path.startswith(PROXIED):
                self._pass_on(b"")
                return
            file = _file(dist, self.path.split("?")[0])
            kind = TYPES.get(file.suffix) or mimetypes.guess_type(file)[0] or "application/octet-stream"
            self._answer(200, kind, file.read_bytes())

        def _pass_on(self, body: bytes) -> None:
            headers = {name: self.headers[name] for name in PASSED_ON if self.headers.get(name)}
            headers["Host"] = self.headers["Host"]  # Orthanc builds bulk data addresses from it
            answer = client.request(self.command, self.path, content=body or None, headers=headers)
            self._answer(answer.status_code, answer.headers.get("Content-Type", ""), answer.content)

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            # Shared memory between workers needs an isolated origin.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True  # the browser went on to another page

    return Handler


def _file(dist: Path, path: str) -> Path:
    """Find a file of the viewer; its own routes all lead to its one page."""
    if path == "/app-config.js":
        return APP_CONFIG
    file = (dist / path.lstrip("/")).resolve()
    return file if file.is_file() and file.is_relative_to(dist.resolve()) else dist / "index.html"
