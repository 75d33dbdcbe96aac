"""Lanes: urgent studies first on every queue, and routine ones never starve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ichor.catalogue import intake, jobs, settling, views
from ichor.catalogue.lanes import STAT_PRIORITY, StatRule
from tests.ichor.catalogue.examples import instance

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue

RULE = StatRule(callers=("CT_ER",), words=("stroke",))


def settled(catalogue: Catalogue, study: str, **options: str) -> None:
    """File one slice, and let its series settle under the rule."""
    with catalogue.write() as session:
        intake.record_instances(session, [instance(1, study=study, series=f"{study}.1", **options)])
        settling.settle(session, settle_s=0, study_settle_s=1000, stat=RULE)


def claimed(catalogue: Catalogue, *, waiting_for_s: float | None = None) -> str | None:
    """Take a job, close it, and give its study."""
    with catalogue.write() as session:
        job = jobs.claim(session, queue="analyse", owner="w", ttl_s=20, waiting_for_s=waiting_for_s)
        if job is None:
            return None
        jobs.finish(session, job.id, "w")
        return job.study_instance_uid


@pytest.mark.parametrize("options", [{"calling_ae": "CT_ER"}, {"study_description": "CT head STROKE code"}])
def test_a_rule_puts_a_study_first(catalogue: Catalogue, options: dict[str, str]) -> None:
    """By sender or by words; the timeline says so, once."""
    settled(catalogue, "1.2.1")
    settled(catalogue, "1.2.2", **options)
    with catalogue.read() as session:
        detail = views.study_detail(session, "1.2.2")
    assert [job.priority for job in detail.jobs] == [STAT_PRIORITY]
    assert [event.name for event in detail.events].count("study_stat") == 1
    assert [claimed(catalogue), claimed(catalogue)] == ["1.2.2", "1.2.1"]


def test_every_job_of_an_urgent_study_is_urgent(catalogue: Catalogue) -> None:
    """Deliveries too, without their being told."""
    settled(catalogue, "1.2.1")
    settled(catalogue, "1.2.2", calling_ae="CT_ER")
    with catalogue.write() as session:
        for study in ("1.2.1", "1.2.2"):
            jobs.enqueue(session, queue="deliver", kind="deliver", study_instance_uid=study, subject_id=1)
        job = jobs.claim(session, queue="deliver", owner="w", ttl_s=20)
    assert job is not None
    assert (job.study_instance_uid, job.priority) == ("1.2.2", STAT_PRIORITY)


def test_what_has_waited_too_long_goes_before_what_is_urgent(catalogue: Catalogue) -> None:
    """With a limit on waiting the oldest comes first; within the limit urgency decides."""
    settled(catalogue, "1.2.1")
    settled(catalogue, "1.2.2", calling_ae="CT_ER")
    settled(catalogue, "1.2.3", calling_ae="CT_ER")
    assert claimed(catalogue, waiting_for_s=3600.0) == "1.2.2"
    assert claimed(catalogue, waiting_for_s=0.0) == "1.2.1"
