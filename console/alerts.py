"""Alerts by the `id` that their message carries: the link in the message leads here, and so does an acknowledgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ichor.catalogue import outbox
from ichor.catalogue.schema import Alert
from ichor.errors import RowNotFound

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ichor.catalogue.records import AlertRow


def alerts_named(session: Session, alert_uid: str) -> tuple[AlertRow, ...]:
    """Give every message with this id, oldest first (a provisional and a final one share it); raise RowNotFound."""
    numbers = session.scalars(select(Alert.id).where(Alert.alert_uid == alert_uid).order_by(Alert.id)).all()
    if not numbers:
        raise RowNotFound("There is no such alert.")
    return tuple(outbox.alert(session, number) for number in numbers)


def acknowledge(session: Session, alert_uid: str, by: str) -> AlertRow:
    """Record that a person has read the message; the first acknowledgement stands. Give the newest row."""
    rows = alerts_named(session, alert_uid)
    return tuple(outbox.acknowledge_alert(session, row.id, by) for row in rows)[-1]
