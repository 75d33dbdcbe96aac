"""TLS as a client: version 1.2 or later, forward secrecy, peers verified (RFC 9325, BCP 195; PS3.15 B.9)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ichor.errors import SettingsError

if TYPE_CHECKING:
    from ichor.sections import CertificateSection, TlsSection

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""RFC 9325 4.2: ephemeral keys over curves, authenticated encryption; TLS 1.3 knows nothing else anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Whom we believe, and how we show who we are, as PEM files."""

    authorities: Path | None = None
    """Who signs the peer's certificate; None is what this system trusts."""
    client: Path | None = None
    """Our certificate, where the peer wants one."""
    client_key: Path | None = None
    """Its key; None where the certificate's file holds it."""


def certificates_of(section: CertificateSection) -> Certificates:
    """Give which certificates the settings name for a peer."""
    return Certificates(
        authorities=section.ca_certificates, client=section.client_certificate, client_key=section.client_key
    )


def tls_of(section: TlsSection) -> Certificates | None:
    """Give what TLS with a peer of the settings needs; None where it is spoken to without."""
    return certificates_of(section) if section.tls else None


def client_context(name: str, certificates: Certificates) -> ssl.SSLContext:
    """Build what a connection to the peer of this name needs; raise SettingsError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=certificates.authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        if certificates.client is not None:
            context.load_cert_chain(certificates.client, certificates.client_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"Peer {name}: a certificate cannot be used: {error}.") from error
    return context


def fault_of(error: ssl.SSLError) -> str:
    """Say what is wrong with a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed ({error.verify_message.rstrip('.')})"
    return f"no TLS connection ({error.reason or 'ended'})"
