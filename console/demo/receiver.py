"""The demo's alert receiver: an HTTP server on loopback that checks the signature of what it gets."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from console.demo.loopback import LOOPBACK

LARGEST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedAlert:
    """One message, as it came."""

    body: bytes
    signed: bool
    """Whether `X-Ichor-Signature` is the HMAC-SHA-256 of the raw body under the shared secret."""
    at_s: float
    """Monotonic clock."""


class AlertReceiver:
    """Listens from `start` to `stop`."""

    def __init__(self, secret: str) -> None:
        self.received: list[ReceivedAlert] = []
        self._secret = secret.encode()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

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

    def take(self, body: bytes, signature: str) -> None:
        """Keep a message with the verdict on its signature."""
        expected = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        signed = hmac.compare_digest(expected.encode(), signature.encode())
        self.received.append(ReceivedAlert(body=body, signed=signed, at_s=time.monotonic()))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """Takes POSTs."""

            def do_POST(self) -> None:
                """Take one message."""
                length = min(int(self.headers.get("Content-Length", "0")), LARGEST_BYTES)
                receiver.take(self.rfile.read(length), self.headers.get("X-Ichor-Signature", ""))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the demo's output clean."""

        return Handler
