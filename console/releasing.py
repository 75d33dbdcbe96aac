"""Ending the commissioning of one destination or channel: what is held for it, and what comes later, goes out."""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import outbox, releases
from ichor.catalogue.engine import Catalogue
from ichor.clock import utc_now
from ichor.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from ichor.settings import Settings

log = structlog.get_logger(__name__)


def release_held(settings: Settings, name: str) -> int:
    """Let what is held for `name` go, and what comes for it from now on; give how much was held.

    The reconciler wakes the worker.
    """
    _check_known(settings, name)
    with _opened(settings) as catalogue, catalogue.write() as session:
        releases.note_release(session, name)
        return _let_go(session, settings, name)


def release_due(catalogue: Catalogue, settings: Settings) -> int:
    """Let go what is held for those for whom nothing is held any more; give how much that was.

    Commissioning has ended (`delivery.hold` is false), or a result was being recorded while its channel was released.
    """
    with catalogue.read() as session:
        on_hold = releases.held_names(session, settings)
        known = {entry.name for entry in (*settings.destinations, *settings.alerts)}
        due = sorted(releases.names_with_held(session) & known - on_hold)
    released = 0
    for name in due:
        with catalogue.write() as session:
            released += _let_go(session, settings, name)
        log.info("held_released", name=name)
    return released


def _let_go(session: Session, settings: Settings, name: str) -> int:
    """Let go what is held for a name; alerts about scans that are too old by now are withdrawn."""
    hours = {channel.name: channel.max_age_h for channel in settings.alerts}.get(name)
    since = None if hours is None else utc_now() - timedelta(hours=hours)
    return outbox.release(session, name, scanned_since=since)


def hold_again(settings: Settings, name: str) -> None:
    """Hold what comes for `name` from now on, as before its release."""
    _check_known(settings, name)
    with _opened(settings) as catalogue, catalogue.write() as session:
        releases.take_back(session, name)


@contextmanager
def _opened(settings: Settings) -> Iterator[Catalogue]:
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        yield catalogue
    finally:
        catalogue.close()


def _check_known(settings: Settings, name: str) -> None:
    known = [entry.name for entry in (*settings.destinations, *settings.alerts)]
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
        raise SettingsError(f"No destination and no alert channel is named {name!r}{hint}.")
