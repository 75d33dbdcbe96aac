"""What is done to the deployment: at random, by a seed, each kind as often as the others."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tests.chaos.deployment import Deployment

DISK_FULL_S = 3.0
FULL = "disk full"


def harms(deployment: Deployment) -> Mapping[str, Callable[[float], None]]:
    """Give name → what kills and, after some seconds, brings back where nobody else does."""
    kinds: dict[str, Callable[[float], None]] = {
        f"kill -9 {name}": lambda _, part=part: part.kill()  # type: ignore[misc]  # the keeper starts it again
        for name, part in deployment.parts.items()
    }
    return {
        **kinds,
        "kill -9 Redis": lambda down_s: _redis(deployment, down_s, forgets=False),
        "kill -9 Redis, then FLUSHALL": lambda down_s: _redis(deployment, down_s, forgets=True),
        "FLUSHALL": lambda _: deployment.redis.flush_all(),
        "kill -9 PostgreSQL": lambda down_s: _postgres(deployment, down_s),
        "kill -9 Orthanc": lambda down_s: _orthanc(deployment, down_s),
        "cut off the recording SCP": lambda down_s: _recorder(deployment, down_s),
    }


def schedule(names: list[str], count: int, rng: random.Random) -> list[str]:
    """Give `count` harms in random order, each kind as often as the others, and the full disk once in the middle."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += rng.sample(names, len(names))
    drawn = drawn[:count]
    rng.shuffle(drawn)
    drawn.insert(count // 2, FULL)
    return drawn


def do_harm(deployment: Deployment, planned: list[str], *, gap_s: float, rng: random.Random) -> Counter[str]:
    """Do all that is planned, one after the other with pauses; give how often each was done."""
    kinds = harms(deployment)
    done: Counter[str] = Counter()
    for name in planned:
        time.sleep(rng.uniform(0.4, 1.6) * gap_s)
        if name == FULL:
            deployment.disk.fill()
            time.sleep(DISK_FULL_S)
            deployment.disk.make_room()
        else:
            kinds[name](rng.uniform(0.2, 2.0))
        done[name] += 1
    return done


def _redis(deployment: Deployment, down_s: float, *, forgets: bool) -> None:
    deployment.redis.program.kill()
    time.sleep(down_s)
    deployment.redis.start()
    if forgets:
        deployment.redis.flush_all()


def _postgres(deployment: Deployment, down_s: float) -> None:
    deployment.postgres.kill()
    time.sleep(down_s)
    deployment.postgres.start()


def _orthanc(deployment: Deployment, down_s: float) -> None:
    deployment.orthanc.program.kill()
    time.sleep(down_s)
    deployment.orthanc.start()


def _recorder(deployment: Deployment, down_s: float) -> None:
    deployment.recorder.stop()
    time.sleep(down_s)
    deployment.recorder.start()
