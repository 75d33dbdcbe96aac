"""Who asks for a change: a user of the settings, proven with the request that asks (docs/decisions/0009).

One rule for everything that a person can do here. Annotations are read at run time.
"""

from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from starlette.concurrency import run_in_threadpool

from console.web import pages
from console.web.fields import is_form, read_fields
from console.web.state import UsersOf
from ichor.errors import IchorError, NotAuthenticated, NoUsers, TooManyTries

log = structlog.get_logger(__name__)

BasicCredentials = Annotated[HTTPBasicCredentials | None, Depends(HTTPBasic(auto_error=False))]
STATUS_CODES: dict[type[IchorError], int] = {NotAuthenticated: 401, NoUsers: 403, TooManyTries: 429}
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "Name or password is wrong."},
    403: {"description": "The same, to a page's form; or the settings name no user."},
    429: {"description": "Too many wrong passwords."},
}


async def user_of(request: Request, users: UsersOf, basic: BasicCredentials) -> str:
    """Give the name of the user who asks, proven by the fields `by` and `password` or by HTTP Basic.

    What stands in the address proves nothing: addresses are kept in histories and logs.

    Raises:
        NotAuthenticated, NoUsers, TooManyTries: see `refuse`.
    """
    fields = await read_fields(request)
    name = fields.get("by", "") if basic is None else basic.username
    password = fields.get("password", "") if basic is None else basic.password
    return await run_in_threadpool(users.check, name.strip(), password)


def refuse(request: Request, error: Exception) -> Response:
    """Answer who may not do this: programs with JSON, a page's form with the form again."""
    code = next(code for kind, code in STATUS_CODES.items() if isinstance(error, kind))
    log.warning("request_refused", asked=request.scope["route"].name, status_code=code)
    if is_form(request):
        # 403: a browser would answer a 401 with a dialogue of its own, and remember what is typed into it.
        return pages.refused(request, str(error), status_code=403 if code == 401 else code)
    challenge = {"WWW-Authenticate": 'Basic realm="Ichor"'} if code == 401 else None
    return JSONResponse({"detail": str(error)}, status_code=code, headers=challenge)


UserOf = Annotated[str, Depends(user_of)]
