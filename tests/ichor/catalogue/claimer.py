"""A process that claims and finishes jobs until none is left; prints what it got, one line per job.

Arguments: catalogue URL, queue, owner. Run by test_jobs.py.
"""

from __future__ import annotations

import sys
import time
from typing import cast

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.jobs import claim, finish
from ichor.catalogue.records import Queue


def main(url: str, queue: Queue, owner: str) -> None:
    """Claim, hold for a moment, finish."""
    catalogue = Catalogue.open(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    idle = 0
    while idle < 3:
        with catalogue.write() as session:
            job = claim(session, queue=queue, owner=owner, ttl_s=60)
        if job is None:
            idle += 1
            time.sleep(0.05)
            continue
        idle = 0
        begin = time.time()
        time.sleep(0.03)  # as work does, long enough for the other process to come to its turn
        sys.stdout.write(f"{job.id} {job.study_instance_uid} {job.attempt} {begin} {time.time()}\n")
        with catalogue.write() as session:
            finish(session, job.id, owner)


if __name__ == "__main__":
    main(sys.argv[1], cast("Queue", sys.argv[2]), sys.argv[3])
