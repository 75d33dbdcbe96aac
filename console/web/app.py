"""The ASGI application, put together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from console.users import Users
from console.web import api, log_in, pages, probes
from console.web.guard import RequestGuard
from ichor import __version__
from ichor.errors import StudyNotFound
from ichor.metrics import NodeMetrics
from listener.dicomweb import stow_app

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings
    from listener.receipt import Receiver

STATIC = Path(__file__).parent / "static"
CONTENT_POLICY = "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; frame-ancestors 'none'"


def create_app(settings: Settings, catalogue: Catalogue, receiver: Receiver) -> FastAPI:
    """Build the application around an open catalogue and receiver, which stay the caller's to close."""
    # FastAPI's own documentation pages load scripts from the Internet; `pages` has one that does not.
    app = FastAPI(title="Ichor", version=__version__, docs_url=None, redoc_url=None)
    app.state.settings = settings
    app.state.catalogue = catalogue
    app.state.metrics = NodeMetrics()
    app.state.users = Users(settings.users)
    app.include_router(probes.router)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.mount("/dicom-web", stow_app(receiver, app.state.metrics, settings.http))
    app.add_exception_handler(StudyNotFound, study_not_found)
    for kind in log_in.STATUS_CODES:
        app.add_exception_handler(kind, log_in.refuse)
    app.middleware("http")(set_security_headers)
    app.add_middleware(RequestGuard, bound_host=settings.http.host, public_url=settings.http.public_url)
    return app


def study_not_found(request: Request, error: Exception) -> Response:
    """Answer 404, as a page to people and as JSON to programs."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": str(error)}, status_code=404)
    return pages.not_found(request)


async def set_security_headers(request: Request, call_next: pages.NextCall) -> Response:
    """Let pages load nothing from elsewhere, and let nobody keep a copy of them."""
    response = await call_next(request)
    response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response
