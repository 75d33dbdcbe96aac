"""No study fails in silence: whoever finds a failed study without a result writes the one that says so.

A worker that was killed with its last attempt could not tell. This reads headers only, so what killed it is not tried
again. Where a fault left a traceback, the timeline gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import jobs, views
from ichor.errors import CatalogueUnreachable
from ichor.log import hashed_uid
from worker import last_words
from worker.disposition import error_code, error_text
from worker.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import StudyDetail
    from worker.analysis_job import AnalysisJob

log = structlog.get_logger(__name__)


def tell_of_failures(catalogue: Catalogue, analysis: AnalysisJob, data_dir: Path) -> int:
    """Publish a result for each study that failed without one; return how many were published."""
    with catalogue.read() as session:
        failures = [views.study_detail(session, uid) for uid in jobs.failed_without_result(session)]
    told = 0
    for study in failures:
        uid = study.study.study_instance_uid
        try:
            analysis.publish_failure(uid, why(study), traceback=traceback_of(study, data_dir))
        except CatalogueUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - what is wrong with one study must not silence the others
            log.error("failure_not_told", study=hashed_uid(uid), error=error_code(error), text=error_text(error))  # noqa: TRY400
        else:
            told += 1
    return told


def traceback_of(study: StudyDetail, data_dir: Path) -> str:
    """Give what the last worker that died of a fault at this study left; empty where none did."""
    workers = [str(event.detail.get("worker")) for event in study.events if event.name == "job_lease_expired"]
    return next(filter(None, (last_words.of(data_dir, worker) for worker in reversed(workers))), "")


def why(study: StudyDetail) -> Reason:
    """Give the error of the study's last failed analysis; of one that nobody foresaw, only its kind."""
    failed = [job for job in study.jobs if job.queue == "analyse" and job.state == "failed"]
    if not failed:
        return Reason(code="failed", text="the analysis ended without an answer")
    code, text = failed[-1].error_code, failed[-1].error_text
    foreseen = code.islower()  # codes of our errors are snake case, foreign ones are class names
    return Reason(code=code.lower(), text=text if foreseen else f"internal error ({code})")
