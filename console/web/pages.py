"""Pages for people, rendered on the server; no script, nothing from elsewhere. Annotations are read at run time."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.templating import Jinja2Templates

from console.alerts import alerts_named
from console.listing import current_result, further_results, report_of, summary_of
from console.outcome import Outcome
from console.users import Users
from console.web.state import CatalogueOf, SettingsOf, UsersOf
from console.web.wording import headline_of, when, words_of_event, zone_of
from ichor import __version__
from ichor.catalogue import releases, views
from ichor.catalogue.records import StudyDetail
from ichor.errors import RowNotFound
from ichor.settings import Settings
from worker.calling import NOT_DUE

NextCall = Callable[[Request], Awaitable[Response]]

REFRESH_S = 5
PAGE_LENGTH = 50
MOVING_STATES = frozenset({"pending"})
"""Deliveries in these states change by themselves, so the study's page looks again."""

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
templates.env.filters["when"] = when
templates.env.filters["words"] = words_of_event
templates.env.globals["zone"] = lambda: zone_of(datetime.now(tz=UTC))
templates.env.globals["version"] = __version__


@router.get("/")
def worklist(
    request: Request, settings: SettingsOf, catalogue: CatalogueOf, page: Annotated[int, Query(ge=1, le=10_000)] = 1
) -> Response:
    """Show the studies, latest arrivals first."""
    with catalogue.read() as session:
        rows = views.list_studies(session, limit=PAGE_LENGTH + 1, offset=(page - 1) * PAGE_LENGTH)
        on_hold = sorted(releases.held_names(session, settings))
    context = {
        "studies": [summary_of(row, settings) for row in rows[:PAGE_LENGTH]],
        "page": page,
        "more": len(rows) > PAGE_LENGTH,
        "refresh_s": REFRESH_S,
        "now": datetime.now(tz=UTC),
        "node": f"{settings.dicom.ae_title} at {settings.dicom.host}:{settings.dicom.port}",
        "model": settings.analysis.model,
        "held": on_hold,
    }
    return templates.TemplateResponse(request, "worklist.html", context)


@router.get("/studies/{uid}")
def study(uid: str, request: Request, settings: SettingsOf, catalogue: CatalogueOf) -> Response:
    """Show one study: what was found, where it went, and what happened when."""
    with catalogue.read() as session:
        detail = views.study_detail(session, uid)
    return templates.TemplateResponse(request, "study.html", study_context(detail, settings))


@router.get("/studies/{uid}/overlay.png")
def overlay(uid: str, catalogue: CatalogueOf) -> Response:
    """Send the picture of the result that stands."""
    with catalogue.read() as session:
        result = current_result(views.study_detail(session, uid))
    path = overlay_path(result.directory if result is not None else None)
    if path is None:
        return HTMLResponse("There is no picture.", status_code=404)
    return FileResponse(path, media_type="image/png")


@router.get("/alerts/{alert_id}")
@router.get("/api/alerts/{alert_id}/acknowledge")
def alert(alert_id: str, request: Request, catalogue: CatalogueOf, users: UsersOf) -> Response:
    """Show what was said under this id, to whom, what became of it, and the form that acknowledges it.

    Looking acknowledges nothing (mail scanners follow links).
    """
    try:
        with catalogue.read() as session:
            rows = alerts_named(session, alert_id)
    except RowNotFound:
        return not_found(request)
    context = {"alert": rows[-1], "messages": rows, "body": json.loads(rows[-1].body), "users": users.anybody}
    return templates.TemplateResponse(request, "alert.html", context)


@router.get("/studies/{uid}/retry")
def retry(uid: str, request: Request, catalogue: CatalogueOf, users: UsersOf) -> Response:
    """Show the form that asks for the analysis again."""
    with catalogue.read() as session:
        study = views.study_detail(session, uid).study
    context = {"study": study, "action": f"/api/studies/{uid}/retry", "title": "Run the analysis again"}
    return templates.TemplateResponse(request, "ask.html", {**context, "users": users.anybody})


@router.get("/studies/{uid}/deliveries/{delivery_id}/resend")
def resend(uid: str, delivery_id: int, request: Request, catalogue: CatalogueOf, users: UsersOf) -> Response:
    """Show the form that sends a delivery again."""
    with catalogue.read() as session:
        detail = views.study_detail(session, uid)
    delivery = next((row for row in detail.deliveries if row.id == delivery_id), None)
    if delivery is None:
        return not_found(request)
    context = {
        "study": detail.study,
        "action": f"/api/studies/{uid}/deliveries/{delivery_id}/resend",
        "title": f"Send again to {delivery.destination}",
    }
    return templates.TemplateResponse(request, "ask.html", {**context, "users": users.anybody})


@router.get("/docs")
def documentation(request: Request) -> Response:
    """Describe the HTTP interface."""
    operations = [
        {"method": method.upper(), "path": path, "summary": operation.get("description", operation.get("summary", ""))}
        for path, by_method in request.app.openapi()["paths"].items()
        for method, operation in by_method.items()
    ]
    return templates.TemplateResponse(request, "docs.html", {"operations": operations})


def refused(request: Request, said: str, *, status_code: int) -> Response:
    """Say to a page's form why nothing was done, with the form again."""
    users: Users = request.app.state.users
    context = {"said": said, "action": request.url.path, "users": users.anybody}
    return templates.TemplateResponse(request, "refused.html", context, status_code=status_code)


def not_found(request: Request) -> Response:
    """Say that there is nothing here."""
    return templates.TemplateResponse(request, "not_found.html", {}, status_code=404)


def study_context(detail: StudyDetail, settings: Settings) -> dict[str, Any]:
    """Put together what the study's page shows."""
    report = report_of(detail, settings)
    result = current_result(detail)
    moving = report["study"]["outcome"] == Outcome.IN_PROGRESS.value or any(
        delivery["state"] in MOVING_STATES for delivery in report["deliveries"]
    )
    return {
        **report,
        "headline": None if result is None else headline_of(result.summary_json),
        "written_at": None if result is None else result.created_at,
        "earlier": [
            {"at": old.created_at, "headline": headline_of(old.summary_json)}
            for old in sorted(detail.results, key=lambda old: old.id, reverse=True)
            if old.superseded_by_id is not None
        ],
        "further": [
            {"scanned_at": one.acquired_at, "headline": headline_of(one.summary_json), "status": one.status}
            for one in further_results(detail)
        ],
        "has_overlay": overlay_path(result.directory if result is not None else None) is not None,
        "silent": silences_of(report["timeline"]),
        "held": any(entry["state"] == "held" for entry in (*report["deliveries"], *report["alerts"])),
        "refresh_s": REFRESH_S if moving else None,
    }


def silences_of(timeline: list[dict[str, Any]]) -> dict[str, str]:
    """Give why the latest suspicion was no alert, for each channel of which that was written down."""
    return {event["detail"]["channel"]: event["detail"]["text"] for event in timeline if event["name"] == NOT_DUE}


def overlay_path(directory: Path | None) -> Path | None:
    """Find the picture in a result's folder."""
    path = None if directory is None else directory / "overlay.png"
    return path if path is not None and path.is_file() else None
