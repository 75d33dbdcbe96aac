"""A small MLLP listener on loopback that keeps every message and acknowledges it as a test decides."""

from __future__ import annotations

import socketserver
import threading
import time

from tests.peers.programs import LOOPBACK


class MllpServer:
    """Answers AA unless `next_answers` says otherwise: an MSA-1 code and an ERR-3 code, or raw bytes."""

    def __init__(self) -> None:
        self.host = LOOPBACK
        self.messages: list[str] = []
        self.next_answers: list[tuple[str, int | None] | bytes] = []
        self.delay_s = 0.0
        self._server = socketserver.ThreadingTCPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, message: bytes) -> bytes:
        """Take one message."""
        text = message.decode()
        self.messages.append(text)
        said = self.next_answers.pop(0) if self.next_answers else ("AA", None)
        if isinstance(said, bytes):
            return said
        code, error = said
        segments = [
            "MSH|^~\\&|RIS|HOSPITAL|ICHOR||20260301120000||ACK^R01^ACK|1|P|2.5.1",
            f"MSA|{code}|{text.split('|')[9]}",
        ]
        if error is not None:
            segments.append(f"ERR||PID^1|{error}^words^HL70357|E")
        return b"\x0b" + "".join(f"{segment}\r" for segment in segments).encode() + b"\x1c\r"

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                received = b""
                while part := self.request.recv(4096):
                    received += part
                    while b"\x1c\r" in received:
                        message, _, received = received.partition(b"\x1c\r")
                        assert message.startswith(b"\x0b")
                        answer = owner.answer(message[1:])
                        time.sleep(owner.delay_s)
                        self.request.sendall(answer)

        return Handler
