"""A plain Redis connection to the node's broker, for looking at it; Celery has its own."""

from __future__ import annotations

from typing import Any

import redis

from ichor.errors import QueueUnreachable

TIMEOUT_S = 2.0
CELERY_SOCKET_SCHEME = "redis+socket://"


def redis_information(url: str) -> dict[str, Any]:
    """Ask the Redis behind a Celery broker URL about itself; raise QueueUnreachable where it does not answer."""
    if url.startswith(CELERY_SOCKET_SCHEME):
        url = "unix://" + url.removeprefix(CELERY_SOCKET_SCHEME)
    try:
        connection = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        try:
            information: dict[str, Any] = connection.info("server")
        finally:
            connection.close()
    except (redis.RedisError, OSError, ValueError) as error:
        raise QueueUnreachable(f"Redis does not answer: {error}.") from error
    return information
