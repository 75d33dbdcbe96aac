"""One alert job: bring the stored body to its channel, and write down that it was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import jobs, outbox
from ichor.errors import PeerRejected
from worker.alert.bearer import Bearer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import Job
    from ichor.metrics import NodeMetrics
    from worker.alert.channels import Alerter
    from worker.lease import Lease

log = structlog.get_logger(__name__)

_OPEN = frozenset({"pending"})


class AlertJob:
    """Runs jobs of kind `alert`."""

    def __init__(self, catalogue: Catalogue, alerters: Mapping[str, Alerter], *, metrics: NodeMetrics) -> None:
        self._catalogue = catalogue
        self._bearer = Bearer(alerters, metrics)

    def run(self, job: Job, lease: Lease) -> None:
        """Send unless it was sent, withdrawn or is held; the job ends in the transaction that marks the alert."""
        alert_id = _subject(job)
        with self._catalogue.read() as session:
            alert = outbox.alert(session, alert_id)
        sent = alert.state in _OPEN
        if sent:
            lease.check()
            self._bearer.bring(alert.channel, alert.body)
        with self._catalogue.write() as session:
            if sent:
                outbox.mark_alert(session, alert_id, "sent")
            jobs.finish(session, job.id, job.lease_owner)
        log.info("alert_sent" if sent else "alert_was_not_open", channel=alert.channel, **job.log_context())


def _subject(job: Job) -> int:
    if job.subject_id is None:
        raise PeerRejected("The job names no alert.")
    return job.subject_id
