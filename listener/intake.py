"""Receiver and cataloguer together, as the listener process and the web process hold them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from ichor.store import Store
from listener.cataloguer import Cataloguer
from listener.receipt import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

log = structlog.get_logger(__name__)

BYTES_PER_GB = 1_000_000_000


@contextmanager
def receiving(settings: Settings, catalogue: Catalogue) -> Iterator[Receiver]:
    """Give a receiver whose cataloguer runs, and enters what is waiting at the end.

    Raises:
        StartError: the data directory cannot be used.
    """
    store = Store(settings.data_dir)
    cataloguer = Cataloguer(catalogue, store)
    receiver = Receiver(
        store,
        cataloguer,
        min_free_bytes=int(settings.disk.min_free_gb * BYTES_PER_GB),
        low_free_bytes=int(settings.disk.low_free_gb * BYTES_PER_GB),
    )
    recovered = receiver.recover()
    if recovered:
        log.warning("instances_recovered", instances=recovered)
    cataloguer.start()
    try:
        yield receiver
    finally:
        cataloguer.close()
        receiver.close()
