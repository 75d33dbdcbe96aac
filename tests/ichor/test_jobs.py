"""Wake-ups over a real Redis: hints that carry nothing and whose loss harms nothing."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from ichor.errors import QueueUnreachable
from ichor.jobs import QUEUE_ANALYSE, QUEUE_DELIVER, TASK_NAME, celery_client, waiting, wake
from ichor.settings import Settings
from tests.peers.programs import free_port
from tests.peers.redis import RedisServer

pytestmark = pytest.mark.integration

HANG_S = 10.0
"""An attempt takes a fraction of a second where the machine is idle; a client left to its own retries takes minutes."""


def test_a_wake_up_lies_in_the_list_of_its_queue_as_json(redis_server: RedisServer, tmp_path: Path) -> None:
    """JSON, the queue's name, and nothing else of ours."""
    client = celery_client(Settings(data_dir=tmp_path, redis_url=redis_server.url))
    assert waiting(client, QUEUE_ANALYSE) == 0
    wake(client, QUEUE_ANALYSE)
    assert (waiting(client, QUEUE_ANALYSE), waiting(client, QUEUE_DELIVER)) == (1, 0)
    with redis_server.client() as redis:
        assert redis.keys("*binding*") == []
        message = json.loads(redis.lindex(QUEUE_ANALYSE, 0))
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == TASK_NAME
    assert json.loads(base64.b64decode(message["body"]))[:2] == [[QUEUE_ANALYSE], {}]


def test_flushall_takes_messages_and_nothing_else(redis_server: RedisServer, tmp_path: Path) -> None:
    """After FLUSHALL the next wake-up of the same client arrives."""
    client = celery_client(Settings(data_dir=tmp_path, redis_url=redis_server.url))
    wake(client, QUEUE_DELIVER)
    redis_server.flush_all()
    assert waiting(client, QUEUE_DELIVER) == 0
    wake(client, QUEUE_DELIVER)
    assert waiting(client, QUEUE_DELIVER) == 1


def test_a_redis_that_comes_back_is_used_again(redis_server: RedisServer, tmp_path: Path) -> None:
    """While it is gone the error is ours and quick; after that the same client works."""
    client = celery_client(Settings(data_dir=tmp_path, redis_url=redis_server.url))
    wake(client, QUEUE_ANALYSE)
    redis_server.program.kill()
    begin = time.monotonic()
    with pytest.raises(QueueUnreachable):
        wake(client, QUEUE_ANALYSE)
    with pytest.raises(QueueUnreachable):
        waiting(client, QUEUE_ANALYSE)
    assert time.monotonic() - begin < HANG_S
    redis_server.start()
    wake(client, QUEUE_ANALYSE)
    assert waiting(client, QUEUE_ANALYSE) == 1


def test_a_redis_that_never_was_is_said_quickly(tmp_path: Path) -> None:
    """No port, no socket: an error, no waiting."""
    for url in (f"redis://127.0.0.1:{free_port()}/0", f"redis+socket://{tmp_path}/absent.sock"):
        client = celery_client(Settings(data_dir=tmp_path, redis_url=url))
        begin = time.monotonic()
        with pytest.raises(QueueUnreachable):
            wake(client, QUEUE_ANALYSE)
        assert time.monotonic() - begin < HANG_S
