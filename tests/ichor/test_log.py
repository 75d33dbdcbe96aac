"""Logs: one event per line, hashed UIDs, libraries kept quiet."""

from __future__ import annotations

import json
import subprocess
import sys

from ichor.log import hashed_uid


def logged(script: str) -> str:
    """What a process of its own writes to standard error."""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    return ended.stderr


def test_a_uid_is_named_by_a_hash() -> None:
    """Twelve characters, the same everywhere, and nothing of the UID in it."""
    # printf 1.2.840 | sha256sum
    assert hashed_uid("1.2.840") == "a66443306519"
    assert hashed_uid("1.2.841") != hashed_uid("1.2.840")


def test_each_event_is_one_line_of_json() -> None:
    """Also with an exception, and also from a library."""
    lines = logged(
        "import logging, structlog\nfrom ichor.log import configure_logging\nconfigure_logging('info', json=True)\n"
        "log = structlog.get_logger()\nlog.debug('unseen')\nlog.info('study_queued', job_id=7)\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('job_failed')\n"
        "logging.getLogger('kombu').warning('line one')\nlogging.getLogger('pynetdicom').warning('identifiers')\n"
        "logging.getLogger('kombu').info('chatter')\n"
    ).splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["study_queued", "job_failed", "line one"]
    assert (events[0]["job_id"], events[0]["level"]) == (7, "info")
    assert "ZeroDivisionError" in events[1]["exception"]
    assert events[2]["logger"] == "kombu"
    assert all(event["timestamp"].endswith("Z") for event in events)


def test_people_get_columns() -> None:
    """Without `json`, text; to a pipe, without colours."""
    text = logged(
        "import structlog\nfrom ichor.log import configure_logging\nconfigure_logging('warning', json=False)\n"
        "structlog.get_logger().warning('lease_lost', job_id=3)\n"
    )
    assert "lease_lost" in text
    assert "job_id=3" in text
    assert "\x1b" not in text
