"""What the objects of a result are called: kinds, files, and the names that their UIDs are derived from."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from ichor.sections import ResultKind

if TYPE_CHECKING:
    from worker.output.context import WriteContext

Kind = ResultKind
KINDS: tuple[Kind, ...] = get_args(Kind)

SERIES_ORDER: tuple[Kind, ...] = ("summary", "seg", "sr", "sr-record", "rejection")
"""Series numbers count up in this order, from the profile's own."""


def object_name(kind: Kind, variant: str) -> str:
    """Name one object of a result; its SOP Instance UID is derived from it."""
    return f"{kind}/{variant}" if variant else kind


def series_name(kind: Kind, variant: str) -> str:
    """Name the series of one object; every object has its own."""
    return f"{kind}-series/{variant}" if variant else f"{kind}-series"


def file_name(kind: Kind, variant: str) -> str:
    """Name the file of one object."""
    return f"{kind}.{variant}.dcm" if variant else f"{kind}.dcm"


def sop_uid(ctx: WriteContext, kind: Kind) -> str:
    """Return the SOP Instance UID of one kind of object."""
    return ctx.identity.uid(object_name(kind, ctx.profile.variant))


def series_uid(ctx: WriteContext, kind: Kind) -> str:
    """Return the Series Instance UID of one kind of object."""
    return ctx.identity.uid(series_name(kind, ctx.profile.variant))


def series_number(ctx: WriteContext, kind: Kind) -> int:
    """Return the Series Number: high, so that the results stand behind the acquired series."""
    return ctx.profile.series_number + SERIES_ORDER.index(kind)
