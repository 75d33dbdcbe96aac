"""What machines ask: `/healthz`, `/readyz`, `/metrics`. Annotations are read by FastAPI at run time."""

import os
import socket

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from console.web.health import last_result_age_s, look
from console.web.metrics import NodeCollector
from console.web.state import CatalogueOf, MetricsOf, SettingsOf

router = APIRouter(tags=["operation"])


@router.get("/healthz")
def healthz(catalogue: CatalogueOf) -> dict[str, str | float | None]:
    """Say that the web server is alive, and how old the last result is, for a dead man's switch outside."""
    return {"status": "alive", "last_result_age_s": last_result_age_s(catalogue)}


@router.get("/readyz", responses={503: {"description": "A part is missing; the body says which."}})
def readyz(settings: SettingsOf, catalogue: CatalogueOf) -> JSONResponse:
    """Say whether a study sent now would be analysed and delivered."""
    found = look(settings, catalogue)
    return JSONResponse({"ready": found.ready, "parts": found.parts}, status_code=200 if found.ready else 503)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(settings: SettingsOf, catalogue: CatalogueOf, own: MetricsOf) -> PlainTextResponse:
    """Give the node's figures in Prometheus' text format, counted now."""
    registry = CollectorRegistry()
    process = f"{socket.gethostname()}:{os.getpid()}"
    registry.register(NodeCollector(settings=settings, catalogue=catalogue, own=own, process=process))
    return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
