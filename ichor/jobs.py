"""Wake-ups through Celery on Redis.

Hints only: a message says that a queue of the catalogue is worth a look. Losing one costs a moment, because the
reconciler sends it again; a second one finds nothing to do. Nothing of a study is in a message.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from ichor.errors import QueueUnreachable
from ichor.settings import Settings

QUEUE_ANALYSE = "analyse"
QUEUE_DELIVER = "deliver"
TASK_NAME = "ichor.wake"
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 10.0
"""A Redis that accepts and then says nothing must not hold up who only wants to leave a hint."""


def celery_client(settings: Settings) -> Celery:
    """Return the Celery application that sends wake-ups and, in workers, receives them."""
    client = Celery("ichor", broker=settings.resolved_redis_url, set_as_current=False)
    # The default exchange needs no bindings in Redis, and so a FLUSHALL cannot take them away: a queue's messages are
    # the Redis list of its name. Nothing is acknowledged: what is lost comes again, and a worker whose acknowledgement
    # fails would wait for it for ever, deaf to everything else (kombu counts it as a message in hand).
    direct = Exchange("", type="direct")  # type: ignore[no-untyped-call]
    queues = [
        Queue(name, exchange=direct, routing_key=name, no_ack=True)  # type: ignore[no-untyped-call]
        for name in (QUEUE_ANALYSE, QUEUE_DELIVER)
    ]
    client.conf.update(
        task_queues=queues,
        task_default_queue=QUEUE_ANALYSE,
        task_default_exchange="",
        task_default_exchange_type="direct",
        task_default_routing_key=QUEUE_ANALYSE,
        task_create_missing_queues=False,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        # Remote control needs bindings too, and a busy solo worker does not answer: heartbeats tell who lives.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": ANSWER_TIMEOUT_S,
            # Who leaves a hint does not wait for a Redis that is away; workers come back by their own, longer loop.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.1,
        },
        enable_utc=True,
        timezone="UTC",
    )
    return client


def wake(client: Celery, queue: str) -> None:
    """Tell one worker of a queue to look into the catalogue.

    Raises:
        QueueUnreachable: Redis does not answer; the reconciler will make up for it.
    """
    try:
        client.send_task(TASK_NAME, args=[queue], queue=queue, retry=False)
    except (KombuError, RedisError, OSError) as error:
        raise QueueUnreachable(f"Redis does not answer: {error}.") from error


def waiting(client: Celery, queue: str) -> int:
    """Return how many wake-ups lie in Redis for a queue and no worker has taken.

    Raises:
        QueueUnreachable: Redis does not answer.
    """
    try:
        with client.connection_for_write() as connection:
            redis: Any = connection.default_channel.client
            return int(redis.llen(queue))
    except (KombuError, RedisError, OSError) as error:
        raise QueueUnreachable(f"Redis does not answer: {error}.") from error
