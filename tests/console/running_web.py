"""The web application in a real uvicorn on a free loopback port, in a thread of the test's."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from console.web.app import create_app
from listener.intake import receiving
from tests.peers.programs import LOOPBACK, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

PASSWORD = "correct horse battery"
NIGHT = {"by": "Dr Night", "password": PASSWORD}
NIGHT_BASIC = ("Dr Night", PASSWORD)
"""One of the two users of the nodes that the tests look at; the other is Dr Day, with the same password."""


@contextmanager
def running_web(settings: Settings, catalogue: Catalogue) -> Iterator[str]:
    """Serve until the block ends and give the address."""
    port = free_port()
    with receiving(settings, catalogue) as receiver:
        server = uvicorn.Server(
            uvicorn.Config(create_app(settings, catalogue, receiver), host=LOOPBACK, port=port, log_level="warning")
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_until(lambda: server.started, what="the web server")
        try:
            yield f"http://{LOOPBACK}:{port}"
        finally:
            server.should_exit = True
            thread.join()
