from __future__ import annotations

from collections.abc import Callable

import pytest

from ichor.errors import QueueUnreachable
from ichor.jobs import waiting
from tests.painting import PaintedSeries
from tests.peers.redis import RedisServer
from tests.worker.run.node import Node
from worker import reconcile


@pytest.mark.integration
def test_ready_work_is_announced_until_it_is_known(
    make_node: Callable[..., Node], redis_server: RedisServer, bleed: PaintedSeries
) -> None:
    """One wake-up for one ready job, none where one lies there already, and again after FLUSHALL."""
    node = make_node(redis_url=redis_server.url)
    assert reconcile.tick(node.catalogue, node.settings, node.client) == 0
    node.file(bleed.paths[:1])
    node.settle(study=False)
    assert reconcile.tick(node.catalogue, node.settings, node.client) == 1
    assert reconcile.tick(node.catalogue, node.settings, node.client) == 0
    assert waiting(node.client, "analyse") == 1
    redis_server.flush_all()
    assert reconcile.tick(node.catalogue, node.settings, node.client) == 1


def test_a_redis_that_is_away_is_said(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """The loop round the tick hears of it, and asks again."""
    node = make_node()
    node.file(bleed.paths[:1])
    node.settle(study=False)
    with pytest.raises(QueueUnreachable):
        reconcile.tick(node.catalogue, node.settings, node.client)
