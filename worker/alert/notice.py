"""One notice job: tell an administrator, and write down that it was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import jobs, notices
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


class NoticeJob:
    """Runs jobs of kind `notice`."""

    def __init__(self, catalogue: Catalogue, alerters: Mapping[str, Alerter], *, metrics: NodeMetrics) -> None:
        self._catalogue = catalogue
        self._bearer = Bearer(alerters, metrics)

    def run(self, job: Job, lease: Lease) -> None:
        """Send unless it was sent; the job ends in the transaction that marks the notice."""
        if job.subject_id is None:
            raise PeerRejected("The job names no notice.")
        with self._catalogue.read() as session:
            notice = notices.notice(session, job.subject_id)
        if notice.state == "pending":
            lease.check()
            self._bearer.bring(notice.channel, notice.body)
        with self._catalogue.write() as session:
            notices.mark_sent(session, job.subject_id)
            jobs.finish(session, job.id, job.lease_owner)
        log.info("notice_sent", channel=notice.channel, **job.log_context())
