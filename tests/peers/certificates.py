"""Certificates that openssl makes: an authority, a server for the loopback address, a client, and a stranger."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.peers.programs import require

if TYPE_CHECKING:
    from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True, slots=True)
class Certificates:
    """A folder with `NAME.pem` and `NAME.key` for authority, server, client and stranger (whom nobody signed)."""

    folder: Path

    def certificate(self, name: str) -> Path:
        """The certificate of a party."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """The private key of a party."""
        return self.folder / f"{name}.key"

    def server_context(self, *, wants_client: bool = True) -> ssl.SSLContext:
        """What a server of a test needs; with `wants_client` it refuses who shows no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate("server"), self.key("server"))
        context.load_verify_locations(self.certificate("authority"))
        context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make them; the server's is good for localhost and 127.0.0.1."""
    made = Certificates(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("authority", "stranger"):
        _request(made, name, "-x509", "-subj", f"/CN={name}", "-out", str(made.certificate(name)))
    for name in ("server", "client"):
        names = folder / f"{name}.ext"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        request = folder / f"{name}.csr"
        _request(made, name, "-subj", f"/CN={name}", "-out", str(request))
        signing = ("-CA", str(made.certificate("authority")), "-CAkey", str(made.key("authority")), "-CAcreateserial")
        _openssl(
            *("x509", "-req", "-in", str(request), *signing, "-days", "2", "-extfile", str(names)),
            *("-out", str(made.certificate(name))),
        )
    return made


def _request(made: Certificates, name: str, *arguments: str) -> None:
    _openssl("req", *CURVE, "-keyout", str(made.key(name)), *arguments)


def _openssl(*arguments: str) -> None:
    subprocess.run([require("openssl"), *arguments], check=True, capture_output=True, timeout=60)
