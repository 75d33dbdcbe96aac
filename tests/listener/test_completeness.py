"""Settling goes on whatever becomes of Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.jobs import ready_count
from ichor.jobs import QUEUE_ANALYSE, celery_client, waiting
from ichor.sections import CompletenessSettings
from ichor.settings import Settings
from ichor.store import Store
from listener.cataloguer import Cataloguer
from listener.completeness import tick
from listener.receipt import Receiver
from tests.listener.samples import encode, make_ct
from tests.listener.test_receipt import arrival_of
from tests.peers.redis import RedisServer


def received(catalogue: Catalogue, data_dir: Path) -> None:
    """Receive one slice, to its row."""
    store = Store(data_dir)
    cataloguer = Cataloguer(catalogue, store)
    cataloguer.start()
    ds = make_ct()
    Receiver(store, cataloguer, min_free_bytes=0).receive(arrival_of(ds), memoryview(encode(ds)))
    cataloguer.close()


def settings_of(data_dir: Path, settle_s: float = 0.0) -> Settings:
    """Return settings that settle after a time."""
    completeness = CompletenessSettings(settle_s=settle_s, study_settle_s=1000)
    return Settings(data_dir=data_dir, completeness=completeness)


@pytest.mark.integration
def test_a_quiet_series_wakes_the_analysis_once(
    catalogue: Catalogue, short_dir: Path, redis_server: RedisServer
) -> None:
    """A series without news becomes one job and one wake-up; while slices come there is none."""
    assert redis_server.socket.exists()
    received(catalogue, short_dir)
    client = celery_client(settings_of(short_dir))
    assert tick(catalogue, settings_of(short_dir, settle_s=1000), client) == 0
    assert tick(catalogue, settings_of(short_dir), client) == 1
    assert tick(catalogue, settings_of(short_dir), client) == 0
    assert waiting(client, QUEUE_ANALYSE) == 1
    client.close()


def test_without_redis_the_job_stands_in_the_catalogue(catalogue: Catalogue, short_dir: Path) -> None:
    """A Redis that does not answer costs the wake-up, not the job."""
    received(catalogue, short_dir)
    client = celery_client(settings_of(short_dir))
    assert tick(catalogue, settings_of(short_dir), client) == 1
    with catalogue.read() as session:
        assert ready_count(session, "analyse") == 1
    client.close()
