"""Heartbeats of processes: who lives is who said so lately, on the database's clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichor.catalogue.engine import database_now
from ichor.catalogue.records import BeatRow
from ichor.catalogue.schema import Beat


def beat(session: Session, name: str, kind: str, detail: Mapping[str, Any] | None = None) -> None:
    """Say that a process lives; `name` tells it from all others (host and process id)."""
    now = database_now(session)
    row = session.get(Beat, name)
    if row is None:
        row = Beat(name=name, kind=kind, started_at=now)
        session.add(row)
    row.kind = kind
    row.seen_at = now
    row.detail = dict(detail) if detail is not None else {}


def live(session: Session, within_s: float) -> list[BeatRow]:
    """Return the processes that said within this time that they live."""
    since = database_now(session) - timedelta(seconds=within_s)
    return [
        BeatRow(name=row.name, kind=row.kind, started_at=row.started_at, seen_at=row.seen_at, detail=row.detail)
        for row in session.scalars(select(Beat).where(Beat.seen_at >= since).order_by(Beat.name))
    ]
