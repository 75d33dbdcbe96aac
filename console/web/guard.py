"""Who may talk to the web server while it has no log-in: this machine, and no page of another site.

On a loopback address a request must name that address (a foreign name that resolves here is DNS rebinding), and a
browser may not change anything on behalf of another origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})


class RequestGuard:
    """ASGI middleware that refuses foreign Host names on loopback and changes asked for by foreign origins.

    The address of `http.public_url` is no foreign one: a proxy in front may pass it on, or put its own in its place.
    """

    def __init__(self, app: ASGIApp, *, bound_host: str, public_url: str = "") -> None:
        self.app = app
        public = urlsplit(public_url)
        known = LOOPBACK_NAMES if public.hostname is None else LOOPBACK_NAMES | {public.hostname}
        self.names = known if bound_host in LOOPBACK_NAMES else None
        self.public = (public.scheme, public.netloc) if public.netloc else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 400 or 403."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            if self.names is not None and urlsplit(f"//{host}").hostname not in self.names:
                await JSONResponse({"detail": "Unknown host name."}, status_code=400)(scope, receive, send)
                return
            origin = headers.get("origin")
            if scope["method"] not in READING and origin is not None and not self._is_own(origin, host):
                await JSONResponse({"detail": "Refused: asked for by another site."}, status_code=403)(
                    scope, receive, send
                )
                return
        await self.app(scope, receive, send)

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page of this very server asks."""
        parts = urlsplit(origin)
        return parts.netloc == host or (parts.scheme, parts.netloc) == self.public
