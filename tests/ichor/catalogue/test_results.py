"""Results and what leaves the node: recorded once, delivered, held, acknowledged, all in one timeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.intake import record_instances
from ichor.catalogue.jobs import claim, finish
from ichor.catalogue.outbox import (
    acknowledge_alert,
    alert,
    delivery,
    mark_alert,
    mark_delivery,
    mark_object,
    release,
)
from ichor.catalogue.records import Job, NewResult
from ichor.catalogue.results import cover_input, find_result, latest_result, record_result
from ichor.catalogue.views import counters, list_studies, study_detail
from ichor.errors import RowNotFound, StudyNotFound
from tests.ichor.catalogue.examples import NOON, result, slices


@pytest.fixture
def filled(catalogue: Catalogue) -> Catalogue:
    """A catalogue with one study."""
    with catalogue.write() as session:
        record_instances(session, slices(3))
    return catalogue


def record(catalogue: Catalogue, new: NewResult) -> int:
    with catalogue.write() as session:
        return record_result(session, new)


def claims(catalogue: Catalogue) -> list[Job]:
    jobs = []
    with catalogue.write() as session:
        while (job := claim(session, queue="deliver", owner="w", ttl_s=60)) is not None:
            jobs.append(job)
    return jobs


def test_a_result_comes_with_all_that_follows_from_it(filled: Catalogue) -> None:
    """Objects, deliveries with the kinds they want, alerts, jobs: the alert's before the deliveries'."""
    result_id = record(filled, result(destinations=("pacs", "web-pacs")))
    with filled.read() as session:
        found = find_result(session, "d1")
        assert found == latest_result(session, "1.2.3")
        detail = study_detail(session, "1.2.3")
    assert found is not None
    assert (found.id, found.total_haemorrhage_ml, found.directory) == (result_id, 15.25, Path("/results/d1"))
    assert [item.kind for item in found.objects] == ["seg", "summary"]
    assert [(row.destination, row.state, [item.kind for item in row.objects]) for row in detail.deliveries] == [
        ("pacs", "pending", ["seg"]),
        ("web-pacs", "pending", ["seg"]),
    ]
    assert [(row.channel, row.state, row.body) for row in detail.alerts] == [("on-call", "pending", b'{"schema": 1}')]
    assert [(job.kind, job.subject_id) for job in claims(filled)] == [("alert", 1), ("deliver", 1), ("deliver", 2)]
    assert detail.study.state == "analysed"


def test_recording_again_changes_nothing(filled: Catalogue) -> None:
    """The same identity: one result, no second delivery, alert or job."""
    first = record(filled, result())
    assert len(claims(filled)) == 2
    assert record(filled, result()) == first
    assert claims(filled) == []
    with filled.read() as session:
        assert counters(session) == {
            "studies": {"analysed": 1},
            "jobs": {"running": 2},
            "deliveries": {"pending": 1},
            "alerts": {"pending": 1},
        }


def test_an_unknown_study_or_result_is_said(catalogue: Catalogue) -> None:
    """By its type."""
    with pytest.raises(StudyNotFound):
        record(catalogue, result())
    with catalogue.write() as session:
        for call in (delivery, alert):
            with pytest.raises(RowNotFound):
                call(session, 9)
        with pytest.raises(RowNotFound):
            cover_input(session, 9, 1)
        with pytest.raises(RowNotFound):
            mark_object(session, 9, 9, "sent")
        assert find_result(session, "d1") is None
        assert latest_result(session, "1.2.3") is None


def test_a_superseding_result_points_both_ways(filled: Catalogue) -> None:
    """The old one is kept and says what replaced it; the latest is the new one."""
    first = record(filled, result())
    second = record(filled, result(digest="d2", supersedes_id=first))
    with filled.read() as session:
        old, new = find_result(session, "d1"), find_result(session, "d2")
        assert old is not None
        assert new is not None
        assert (old.superseded_by_id, new.supersedes_id) == (second, first)
        assert latest_result(session, "1.2.3") == new
        assert "result_superseded" in [event.name for event in study_detail(session, "1.2.3").events]


def test_a_provisional_result_becomes_final_in_place(filled: Catalogue) -> None:
    """Same identity: one result and objects once; the final alert goes out beside the provisional one, same id."""
    first = record(filled, result(provisional=True, destinations=()))
    with filled.read() as session:
        assert study_detail(session, "1.2.3").study.provisional
    assert record(filled, result()) == first
    with filled.read() as session:
        detail = study_detail(session, "1.2.3")
    assert not detail.results[0].provisional
    assert len(detail.results[0].objects) == 2
    assert [row.destination for row in detail.deliveries] == ["pacs"]
    assert [(row.alert_uid, row.provisional) for row in detail.alerts] == [("a1", True), ("a1", False)]
    assert record(filled, result(provisional=True)) == first
    with filled.read() as session:
        assert not study_detail(session, "1.2.3").results[0].provisional


def test_a_delivery_is_tracked_object_by_object(filled: Catalogue) -> None:
    """Sent, refused, confirmed: each with the peer's status, the refusal in the timeline."""
    record(filled, result())
    with filled.write() as session:
        (item,) = delivery(session, 1).objects
        mark_object(session, 1, item.object_id, "failed", 0x0122)
        mark_delivery(session, 1, "sent")
        mark_object(session, 1, item.object_id, "sent", 0x0000)
        mark_delivery(session, 1, "confirmed")
        mark_delivery(session, 1, "confirmed")
    with filled.read() as session:
        row = delivery(session, 1)
        events = [event for event in study_detail(session, "1.2.3").events if event.subject == "delivery"]
    assert (row.state, row.objects[0].state, row.objects[0].status_code) == ("confirmed", "sent", 0)
    assert [event.name for event in events] == [
        "delivery_pending",
        "object_failed",
        "delivery_sent",
        "delivery_confirmed",
    ]
    assert events[1].detail == {"destination": "pacs", "object": "seg", "status_code": 0x0122}


def test_the_first_acknowledgement_stands(filled: Catalogue) -> None:
    """A second one, or a sender that reports late, does not change who read it."""
    record(filled, result())
    with filled.write() as session:
        assert acknowledge_alert(session, 1, "Dr A").state == "acknowledged"
        mark_alert(session, 1, "sent")
        row = acknowledge_alert(session, 1, "Dr B")
        mark_alert(session, 1, "failed", "late")
    with filled.read() as session:
        again = alert(session, 1)
    assert (row.acknowledged_by, again.state, again.acknowledged_by) == ("Dr A", "acknowledged", "Dr A")
    assert again.acknowledged_at is not None


def test_what_is_held_goes_nowhere_until_it_is_released(filled: Catalogue) -> None:
    """Commissioning: no job exists; release makes them, but not for what was superseded meanwhile."""
    first = record(filled, result(held=True))
    record(filled, result(digest="d2", held=True, supersedes_id=first))
    assert claims(filled) == []
    with filled.write() as session:
        assert delivery(session, 1).state == "held"
        assert release(session, "nobody") == 0
        assert release(session, "pacs") == 1
        assert release(session, "on-call") == 1
        assert release(session, "pacs") == 0
    assert [(job.kind, job.subject_id) for job in claims(filled)] == [("alert", 2), ("deliver", 2)]
    with filled.read() as session:
        assert [row.state for row in study_detail(session, "1.2.3").deliveries] == ["held", "pending"]


def test_the_worklist_shows_the_latest_first_with_their_results(filled: Catalogue) -> None:
    """Pages do not overlap; each row carries the state of result, deliveries and alerts."""
    with filled.write() as session:
        record_instances(session, slices(1, study="1.2.4", series="1.2.4.1"), now=NOON)
        record_result(session, result())
        mark_delivery(session, 1, "confirmed")
        mark_alert(session, 1, "sent")
    with filled.read() as session:
        first = list_studies(session, limit=1)
        second = list_studies(session, limit=1, offset=1)
    assert [row.study_instance_uid for row in (*first, *second)] == ["1.2.3", "1.2.4"]
    row, other = first[0], second[0]
    assert (row.result_status, row.conclusion, row.total_haemorrhage_ml) == ("analysed", "suspected", 15.25)
    assert (row.delivery_states, row.alert_states) == (("confirmed",), ("sent",))
    assert (other.result_id, other.conclusion, other.delivery_states) == (None, None, ())


def test_a_job_that_ends_in_the_same_transaction_as_its_result(filled: Catalogue) -> None:
    """Either both are there or none: the lease decides."""
    record(filled, result())
    job = claims(filled)[0]
    with filled.write() as session:
        mark_alert(session, 1, "sent")
        finish(session, job.id, "w")
    with filled.read() as session:
        assert (alert(session, 1).state, counters(session)["jobs"]["done"]) == ("sent", 1)
