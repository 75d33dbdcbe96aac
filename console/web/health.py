"""`/healthz`: the web server is alive. `/readyz`: every part that a study needs on its way is there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from console.redis_link import redis_information
from ichor.catalogue import beats, views
from ichor.errors import IchorError
from ichor.store import Store
from listener.intake import BYTES_PER_GB

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

BEAT_WITHIN_S = 20.0
LISTENER = "listener"
NO_HEARTBEAT = "no heartbeat"
WORKERS = ("analyse", "deliver")
CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Each part with `ok`, or with what is wrong with it."""

    parts: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether every part is well."""
        return all(state == "ok" for state in self.parts.values())


def look(settings: Settings, catalogue: Catalogue) -> Readiness:
    """Look at listener, Redis, catalogue, disk and both workers."""
    parts = {"redis": redis_state(settings)}
    try:
        with catalogue.read() as session:
            kinds = {beat.kind for beat in beats.live(session, within_s=BEAT_WITHIN_S)}
        parts["catalogue"] = "ok"
    except (SQLAlchemyError, IchorError):
        kinds = set()
        parts["catalogue"] = "cannot be read"
    parts["listener"] = listener_state(settings) if LISTENER in kinds else NO_HEARTBEAT
    parts["disk"] = disk_state(settings)
    for worker in WORKERS:
        parts[f"worker_{worker}"] = "ok" if worker in kinds else NO_HEARTBEAT
    return Readiness(parts=parts)


def last_result_age_s(catalogue: Catalogue) -> float | None:
    """Give the age of the newest result; None where there is none, or the catalogue cannot be read."""
    try:
        with catalogue.read() as session:
            return views.last_result_age_s(session)
    except (SQLAlchemyError, IchorError):
        return None


def listener_state(settings: Settings) -> str:
    """Knock at the DICOM port where all parts run on this machine; elsewhere the heartbeat has to do."""
    if not settings.resolved_catalogue_url.startswith("sqlite"):
        return "ok"
    try:
        with socket.create_connection((settings.dicom.host, settings.dicom.port), timeout=CONNECT_TIMEOUT_S):
            return "ok"
    except OSError:
        return "does not take connections"


def disk_state(settings: Settings) -> str:
    """Say whether there is room for what may come."""
    low_gb = max(settings.disk.low_free_gb, settings.disk.min_free_gb)
    room = Store(settings.data_dir).free_bytes() >= low_gb * BYTES_PER_GB
    return "ok" if room else f"less than {low_gb:g} GB free: senders are refused"


def redis_state(settings: Settings) -> str:
    """Ask Redis whether it is there."""
    try:
        redis_information(settings.resolved_redis_url)
    except IchorError:
        return "does not answer"
    return "ok"
