"""The uvicorn process around the web application."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import uvicorn

from console.web.app import create_app
from ichor.catalogue.engine import Catalogue
from ichor.errors import StartError
from ichor.peers.tls import CIPHERS
from listener.intake import receiving

if TYPE_CHECKING:
    from ichor.settings import Settings

DRAIN_S = 10


def run_web(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; open requests get a few seconds. Raises StartError for an unusable certificate."""
    certificate, key = settings.http.certificate, settings.http.certificate_key
    if certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except OSError as error:
            raise StartError(f"The web server's certificate cannot be used: {error}.") from error
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with receiving(settings, catalogue) as receiver:
            uvicorn.run(
                create_app(settings, catalogue, receiver),
                host=settings.http.host,
                port=settings.http.port,
                log_level="warning",
                access_log=False,  # paths hold Study Instance UIDs
                server_header=False,
                timeout_graceful_shutdown=DRAIN_S,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                ssl_ciphers=CIPHERS,
            )
    finally:
        catalogue.close()
