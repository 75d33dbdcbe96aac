"""What an administrator is told of, and what a worklist makes urgent, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.catalogue import intake, jobs, lanes, notices, outbox, results, settling
from ichor.catalogue.lanes import STAT_PRIORITY
from tests.ichor.catalogue.examples import instance, result

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue


def found(catalogue: Catalogue, channel: str = "admin") -> list[tuple[str, str, tuple[str, ...]]]:
    """Give kind, study and names of everything that the channel is not told of yet, and tell it."""
    with catalogue.read() as session:
        troubles = (
            *notices.unresolved(session, channel, older_than_s=0.0),
            *notices.undelivered(session, channel, older_than_s=0.0),
        )
    with catalogue.write() as session:
        told = [notices.record(session, trouble, channel=channel, body=b"{}") for trouble in troubles]
        assert told == [1] * len(troubles)
        assert not any(notices.record(session, trouble, channel=channel, body=b"{}") for trouble in troubles)
    return [(trouble.kind, trouble.study_instance_uid, trouble.names) for trouble in troubles]


def test_trouble_is_told_once_to_each_channel(catalogue: Catalogue) -> None:
    """Without a result, failed without one that says so, and with one that did not arrive."""
    with catalogue.write() as session:
        for study in ("1.2.1", "1.2.2", "1.2.3"):
            intake.record_instances(session, [instance(1, study=study, series=f"{study}.1")])
        intake.mark_study(session, "1.2.2", "failed")
        results.record_result(session, result(study="1.2.3"))
    expected = [
        ("unresolved", "1.2.1", ()),
        ("unresolved", "1.2.2", ()),
        ("undelivered", "1.2.3", ("on-call", "pacs")),
    ]
    assert found(catalogue) == expected
    assert found(catalogue) == []
    assert found(catalogue, "other") == expected


def test_what_arrived_or_is_held_is_no_trouble(catalogue: Catalogue) -> None:
    """Neither a delivery that was confirmed nor one that waits for its release."""
    with catalogue.write() as session:
        intake.record_instances(session, [instance(1, study="1.2.1", series="1.2.1.1")])
        intake.record_instances(session, [instance(2, study="1.2.2", series="1.2.2.1")])
        results.record_result(session, result(study="1.2.1"))
        results.record_result(session, result(digest="d2", study="1.2.2", held=True))
    with catalogue.write() as session:
        outbox.mark_delivery(session, 1, "confirmed")
        outbox.mark_alert(session, 1, "sent")
    assert found(catalogue) == []


def test_an_urgent_study_takes_its_jobs_along(catalogue: Catalogue) -> None:
    """Jobs that wait already go first; a study is made urgent once."""
    with catalogue.write() as session:
        for study in ("1.2.1", "1.2.2"):
            intake.record_instances(session, [instance(1, study=study, series=f"{study}.1")])
        settling.settle(session, settle_s=0, study_settle_s=1000)
    with catalogue.read() as session:
        studies = lanes.routine_studies(session, after_id=0)
    assert [study.study_instance_uid for study in studies] == ["1.2.1", "1.2.2"]
    with catalogue.write() as session:
        assert [lanes.make_urgent(session, "1.2.2"), lanes.make_urgent(session, "1.2.2")] == [1, 0]
    with catalogue.write() as session:
        job = jobs.claim(session, queue="analyse", owner="w", ttl_s=20)
    assert job is not None
    assert (job.study_instance_uid, job.priority) == ("1.2.2", STAT_PRIORITY)
    with catalogue.read() as session:
        assert [study.study_instance_uid for study in lanes.routine_studies(session, after_id=0)] == ["1.2.1"]
