"""The fields of a POST: a small JSON object of a program, or the form of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import HTTPException

if TYPE_CHECKING:
    from fastapi import Request

FORM = "application/x-www-form-urlencoded"
LONGEST_BODY_BYTES = 4096


async def read_fields(request: Request) -> dict[str, str]:
    """Read the body's fields, none where there is no body; raise HTTPException with 413 or 422."""
    body = await request.body()
    if len(body) > LONGEST_BODY_BYTES:
        raise HTTPException(status_code=413, detail="The request is too large.")
    if not body:
        return {}
    if is_form(request):
        return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", errors="replace")).items()}
    try:
        fields = await request.json()
    except ValueError as error:
        raise HTTPException(status_code=422, detail="The body is neither JSON nor a form.") from error
    if not isinstance(fields, dict):
        raise HTTPException(status_code=422, detail="A JSON object is expected.")
    return {str(name): str(value) for name, value in fields.items()}


def is_form(request: Request) -> bool:
    """Say whether a page's form sent this."""
    return request.headers.get("content-type", "").startswith(FORM)
