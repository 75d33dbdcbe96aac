"""MLLP client: one HL7 v2 message out, its acknowledgement back (HL7 v2.5.1 Appendix C.4 of the transport guide).

Over TLS where that is asked for: MLLP itself knows neither encryption nor log-in.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ichor.errors import PeerUnreachable
from ichor.peers.tls import Certificates, client_context, fault_of

START_BLOCK = b"\x0b"
END_BLOCK = b"\x1c\r"
LONGEST_ANSWER_BYTES = 1 << 16
ACCEPTED = frozenset({"AA", "CA"})  # HL7 Table 0008


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What the peer said: MSA-1 (HL7 Table 0008) and the code of its first error (ERR-3, HL7 Table 0357)."""

    code: str
    error: int | None

    @property
    def accepted(self) -> bool:
        """Return whether the peer took the message."""
        return self.code in ACCEPTED


@contextmanager
def connected(
    host: str, port: int, *, timeout_s: float, tls: Certificates | None = None, tls_name: str = ""
) -> Iterator[socket.socket]:
    """Open a connection, with `tls` an encrypted one to who has a certificate for `tls_name`, or else for the host.

    Raises:
        PeerUnreachable: it fails, then or later.
        SettingsError: a certificate of ours cannot be used.
    """
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, port), timeout=timeout_s))
            if tls is not None:
                context = client_context(host, tls)
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=tls_name or host))
            yield connection
    except ssl.SSLError as error:
        raise PeerUnreachable(f"{host}:{port} does not answer: {fault_of(error)}.") from error
    except OSError as error:
        raise PeerUnreachable(f"{host}:{port} does not answer: {type(error).__name__}.") from error


def exchange(connection: socket.socket, message: bytes, control_id: str) -> Acknowledgement:
    """Send a message and read its acknowledgement; raise PeerUnreachable where none comes that belongs to it."""
    connection.sendall(START_BLOCK + message + END_BLOCK)
    received = b""
    while not received.endswith(END_BLOCK):
        part = connection.recv(4096)
        received += part
        if not part or len(received) > LONGEST_ANSWER_BYTES:
            raise PeerUnreachable("The peer ended the connection without an acknowledgement.")
    return _acknowledgement(received[: -len(END_BLOCK)].lstrip(START_BLOCK), control_id)


def _acknowledgement(answer: bytes, control_id: str) -> Acknowledgement:
    text = answer.decode("utf-8", errors="replace")
    if len(text) < 5 or not text.startswith("MSH"):
        raise PeerUnreachable("The peer answered with something that is no acknowledgement.")
    field, component = text[3], text[4]  # HL7 v2.5.1 2.5.4: the message declares its own delimiters
    segments = [segment.split(field) for segment in text.replace("\n", "\r").split("\r") if segment]
    found = next((segment for segment in segments if segment[0] == "MSA"), [])
    if len(found) < 3 or found[2] != control_id:
        raise PeerUnreachable("The acknowledgement belongs to another message.")
    error = next((segment for segment in segments if segment[0] == "ERR"), [])
    return Acknowledgement(code=found[1], error=_error_code(error, component))


def _error_code(segment: Sequence[str], component: str) -> int | None:
    code = segment[3].split(component)[0] if len(segment) > 3 else ""
    return int(code) if code.isdecimal() else None
