"""A real HTTP server on loopback that remembers every alert it got, and can be slow, down or wrong for a while."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.peers.programs import LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request: the path, the headers in lower case, the raw body, and the status it was answered with."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int


class WebhookServer:
    """Answers 204 unless `next_statuses` says otherwise; waits `delay_s` before it answers."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.next_statuses: list[int] = []
        self.delay_s = 0.0
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where alerts go."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/alerts"

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def accepted(self) -> list[Received]:
        """Give the requests that were answered with success."""
        return [request for request in self.received if request.status < 300]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                status = owner.next_statuses.pop(0) if owner.next_statuses else 204
                headers = {name.lower(): value for name, value in self.headers.items()}
                owner.received.append(Received(path=self.path, headers=headers, body=body, status=status))
                time.sleep(owner.delay_s)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        return Handler
