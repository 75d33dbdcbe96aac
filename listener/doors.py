"""The ports that the listener takes associations on: bound by one process, used by all that it hands them to."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ichor.errors import StartError
from listener.lobby import Door

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ichor.sections import DicomSettings, DicomTlsSettings

BACKLOG = 1024


def bound(settings: DicomSettings) -> list[socket.socket]:
    """Bind the plain port and, with a certificate, the TLS port.

    SO_REUSEADDR takes a port in TIME_WAIT and nothing that listens: a second listener is refused, here or, where both
    start at once, by `listening`.

    Raises:
        StartError: an address cannot be used.
    """
    ports = [settings.port] if settings.tls.certificate is None else [settings.port, settings.tls.port]
    with ExitStack() as stack:
        sockets = [stack.enter_context(_bound(settings.host, port)) for port in ports]
        stack.pop_all()
        return sockets


def listening(settings: DicomSettings, sockets: Sequence[socket.socket]) -> tuple[Door, ...]:
    """Listen on the sockets of `bound`, and give them their TLS contexts; only who is ready to accept calls this.

    Raises:
        StartError: a certificate cannot be used, or another process listens on a port now.
    """
    contexts = (None, tls_context(settings.tls))
    for one in sockets:
        try:
            one.listen(BACKLOG)
        except OSError as error:
            raise _unusable(settings.host, one.getsockname()[1], error) from error
    return tuple(Door(listening=one, tls=context) for one, context in zip(sockets, contexts, strict=False))


def tls_context(settings: DicomTlsSettings) -> ssl.SSLContext | None:
    """Make the TLS context, None without a certificate (PS3.15 B.12: BCP 195, that is RFC 8996 and RFC 9325).

    Raises:
        StartError: certificate, key or authorities cannot be used.
    """
    if settings.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325 3.1.1
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # RFC 9325 4.2: forward secrecy and AEAD; TLS 1.3 has its own
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        raise StartError(f"The files of dicom.tls cannot be used: {reason.lower()}.") from error
    return context


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        one = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise _unusable(host, port, error) from error
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)
    except (OSError, OverflowError) as error:
        one.close()
        raise _unusable(host, port, error) from error
    return one


def _unusable(host: str, port: int, error: OSError | OverflowError) -> StartError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StartError(f"The DICOM listener cannot use {host} port {port}: {reason.lower()}.")
