"""Ending the commissioning of one destination or channel: what is held for it goes out."""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import TYPE_CHECKING

from ichor.catalogue import outbox
from ichor.catalogue.engine import Catalogue
from ichor.clock import utc_now
from ichor.errors import SettingsError

if TYPE_CHECKING:
    from ichor.settings import Settings


def release_held(settings: Settings, name: str) -> int:
    """Release what is held for `name`; give how much that was. The reconciler wakes the worker."""
    known = [entry.name for entry in (*settings.destinations, *settings.alerts)]
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
        raise SettingsError(f"No destination and no alert channel is named {name!r}{hint}.")
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with catalogue.write() as session:
            hours = {channel.name: channel.max_age_h for channel in settings.alerts}.get(name)
            since = None if hours is None else utc_now() - timedelta(hours=hours)
            return outbox.release(session, name, scanned_since=since)
    finally:
        catalogue.close()
