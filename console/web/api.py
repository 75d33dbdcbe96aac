"""`/api`: what the pages show, as JSON, and what a user of the settings can ask for.

Annotations are read at run time.
"""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from console import alerts
from console.listing import StudySummary, report_of, summary_of
from console.resending import ask_for_resend
from console.retrying import ask_for_retry
from console.web.fields import is_form, read_fields
from console.web.log_in import REFUSALS, UserOf
from console.web.state import CatalogueOf, SettingsOf
from ichor.catalogue import views
from ichor.catalogue.records import AlertRow
from ichor.errors import NotResendable, RowNotFound

router = APIRouter(prefix="/api", tags=["studies"])


@router.get("/studies")
def studies(
    settings: SettingsOf,
    catalogue: CatalogueOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[StudySummary]:
    """List studies, latest arrivals first."""
    with catalogue.read() as session:
        return [summary_of(row, settings) for row in views.list_studies(session, limit=limit, offset=offset)]


@router.get("/studies/{uid}")
def study(uid: str, settings: SettingsOf, catalogue: CatalogueOf) -> dict[str, Any]:
    """Give everything about one study; `result` is its `result.json`."""
    with catalogue.read() as session:
        return report_of(views.study_detail(session, uid), settings)


@router.post("/studies/{uid}/retry", status_code=202, responses=REFUSALS)
async def retry(uid: str, request: Request, settings: SettingsOf, catalogue: CatalogueOf, by: UserOf) -> Response:
    """Ask for the analysis again; with `force` a new result is made even where a finished one fits.

    Name and password as for an acknowledgement.
    """
    asked = {**request.query_params, **await read_fields(request)}
    force = asked.get("force", "").lower() in {"1", "true", "yes"}
    job_id = await run_in_threadpool(ask_for_retry, settings, catalogue, uid, force=force, by=by)
    return answer(request, {"job_id": job_id}, status_code=202, page=f"/studies/{uid}")


@router.post("/studies/{uid}/deliveries/{delivery_id}/resend", status_code=202, responses=REFUSALS)
async def resend(
    uid: str, delivery_id: int, request: Request, settings: SettingsOf, catalogue: CatalogueOf, by: UserOf
) -> Response:
    """Send a delivery that failed for good again: what the destination lacks, as it was stored.

    Name and password as for an acknowledgement.
    """
    try:
        job_id = await run_in_threadpool(ask_for_resend, settings, catalogue, uid, delivery_id, by=by)
    except RowNotFound as error:
        raise HTTPException(status_code=404, detail="The study has no such delivery.") from error
    except NotResendable as error:
        raise HTTPException(status_code=409, detail=str(error)) from error
    return answer(request, {"job_id": job_id}, status_code=202, page=f"/studies/{uid}")


@router.post("/alerts/{alert_id}/acknowledge", responses=REFUSALS)
async def acknowledge(alert_id: str, request: Request, catalogue: CatalogueOf, by: UserOf) -> Response:
    """Record that a user of the settings has read an alert; the first acknowledgement stands.

    Name and password come in the fields `by` and `password`, or as HTTP Basic credentials.
    """

    def record() -> AlertRow:
        with catalogue.write() as session:
            return alerts.acknowledge(session, alert_id, by)

    try:
        row = await run_in_threadpool(record)
    except RowNotFound as error:
        raise HTTPException(status_code=404, detail="There is no such alert.") from error
    recorded = {
        "id": row.alert_uid,
        "state": row.state,
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_at": row.acknowledged_at.isoformat() if row.acknowledged_at is not None else None,
        "study_instance_uid": row.study_instance_uid,
    }
    return answer(request, recorded, status_code=200, page=f"/studies/{row.study_instance_uid}")


def answer(request: Request, content: dict[str, Any], *, status_code: int, page: str) -> Response:
    """Answer programs with JSON, and send a page's form back to its page (303: with a GET)."""
    if is_form(request):
        return RedirectResponse(page, status_code=303)
    return JSONResponse(content, status_code=status_code)
