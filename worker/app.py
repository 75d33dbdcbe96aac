"""`celery -A worker.app worker -Q analyse`: the Celery application by the name under which its command finds it.

Built from `$ICHOR_CONFIG` and `ICHOR_*` when it is first asked for, so that importing this module reads nothing.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from ichor.log import configure_logging
from ichor.settings import load_settings
from worker.tasks import create_app

if TYPE_CHECKING:
    from celery import Celery


@cache
def _app() -> Celery:
    settings = load_settings(None, environ=os.environ)
    configure_logging(settings.log_level, json=True)
    return create_app(settings)


def __getattr__(name: str) -> Celery:
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
