"""Which destinations and channels an administrator has released: nothing is held for these any more.

Only of interest while the settings hold results back (`delivery.hold`), that is, during commissioning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from ichor.catalogue.engine import database_now
from ichor.catalogue.schema import Alert, Delivery, ReleasedName, Result

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ichor.settings import Settings


def note_release(session: Session, name: str) -> None:
    """Let what comes for a destination or channel go out from now on."""
    if session.get(ReleasedName, name) is None:
        session.add(ReleasedName(name=name, released_at=database_now(session)))
        session.flush()


def take_back(session: Session, name: str) -> None:
    """Hold what comes for a destination or channel from now on, as before its release."""
    session.execute(delete(ReleasedName).where(ReleasedName.name == name))


def held_names(session: Session, settings: Settings) -> frozenset[str]:
    """Return the destinations and channels of the settings for which results are held back now."""
    if not settings.delivery.hold:
        return frozenset()
    names = {entry.name for entry in (*settings.destinations, *settings.alerts)}
    return frozenset(names - set(session.scalars(select(ReleasedName.name))))


def names_with_held(session: Session) -> frozenset[str]:
    """Return the destinations and channels for which something is held that stands."""
    names: set[str] = set()
    for table, name in ((Delivery, Delivery.destination), (Alert, Alert.channel)):
        query = select(name).join(Result, table.result_id == Result.id)
        names.update(session.scalars(query.where(table.state == "held", Result.superseded_by_id.is_(None)).distinct()))
    return frozenset(names)
