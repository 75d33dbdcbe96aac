"""Early looks: asked for once per input, of series whose association was released, and provisional until settled."""

from __future__ import annotations

from datetime import timedelta

from ichor.catalogue.early import ask_early, has_settled, release_series
from ichor.catalogue.engine import Catalogue, database_now
from ichor.catalogue.inputs import study_input
from ichor.catalogue.intake import record_instances
from ichor.catalogue.jobs import claim, finish
from ichor.catalogue.lanes import STAT_PRIORITY, StatRule
from ichor.catalogue.outbox import acknowledge_alert, mark_alert
from ichor.catalogue.results import latest_result, record_result
from ichor.catalogue.settling import settle
from ichor.catalogue.views import list_studies, study_detail
from tests.ichor.catalogue.examples import DOSE_REPORT, instance, result, slices

ROUTINE = StatRule()


def arrive(catalogue: Catalogue, count: int, *, released: bool = True) -> None:
    with catalogue.write() as session:
        record_instances(session, slices(count))
        if released:
            release_series(session, "1.2.3", "1.2.3.1")


def asked(catalogue: Catalogue, rule: StatRule = ROUTINE) -> int:
    with catalogue.write() as session:
        return ask_early(session, stat=rule)


def test_a_released_series_is_looked_at_once(catalogue: Catalogue) -> None:
    """One job for one input; further slices, and their release, are worth another look."""
    arrive(catalogue, 10, released=False)
    assert asked(catalogue) == 0
    arrive(catalogue, 10)
    assert asked(catalogue) == 1
    assert asked(catalogue) == 0
    with catalogue.read() as session:
        given = study_input(session, "1.2.3")
    assert len(given.instances) == 10
    assert given.released == {"1.2.3.1"}
    with catalogue.write() as session:
        record_instances(session, slices(12))
        assert study_input(session, "1.2.3").instances == ()
    assert asked(catalogue) == 0
    arrive(catalogue, 12)
    assert asked(catalogue) == 1
    with catalogue.read() as session:
        jobs = study_detail(session, "1.2.3").jobs
    assert [(job.kind, job.final) for job in jobs] == [("analyse", False)], "a look that waits takes the new input too"


def test_reports_and_settled_series_are_not_looked_at(catalogue: Catalogue) -> None:
    """A dose report is no image, and what has settled is analysed anyway."""
    with catalogue.write() as session:
        record_instances(session, [instance(1, sop_class_uid=DOSE_REPORT)])
        release_series(session, "1.2.3", "1.2.3.1")
        release_series(session, "9.9", "9.9.1")
    assert asked(catalogue) == 0
    arrive(catalogue, 10, released=False)
    with catalogue.write() as session:
        settle(session, settle_s=1.0, study_settle_s=1e6, now=database_now(session) + timedelta(minutes=1))
        release_series(session, "1.2.3", "1.2.3.1")
        assert study_input(session, "1.2.3").released == frozenset()
        assert has_settled(session, "1.2.3", "1.2.3.1")
    assert asked(catalogue) == 0


def test_urgent_studies_are_urgent_from_the_first_look(catalogue: Catalogue) -> None:
    """The lane counts for early looks too."""
    arrive(catalogue, 10)
    assert asked(catalogue, StatRule(callers=("CT1",))) == 1
    with catalogue.write() as session:
        job = claim(session, queue="analyse", owner="w", ttl_s=60)
    assert job is not None
    assert job.priority == STAT_PRIORITY


def test_a_study_with_a_result_waits_until_it_settles(catalogue: Catalogue) -> None:
    """Late slices of a study that has a result are not looked at early."""
    arrive(catalogue, 10)
    with catalogue.write() as session:
        record_result(session, result(provisional=True, input_version=1))
    arrive(catalogue, 12)
    assert asked(catalogue) == 0


def test_the_final_message_takes_over_from_the_provisional_one(catalogue: Catalogue) -> None:
    """Who has read the provisional message is told that it is final, under the same id, and not called again."""
    arrive(catalogue, 10)
    with catalogue.write() as session:
        record_result(session, result(provisional=True, destinations=()))
        assert list_studies(session)[0].provisional
        (early,) = study_detail(session, "1.2.3").alerts
        mark_alert(session, early.id, "sent")
        acknowledge_alert(session, early.id, "dr")
    with catalogue.write() as session:
        record_result(session, result())
        early, final = study_detail(session, "1.2.3").alerts
        assert (early.state, early.alert_uid) == ("acknowledged", final.alert_uid)
        assert (final.state, final.provisional, final.acknowledged_by) == ("pending", False, "dr")
        mark_alert(session, final.id, "sent")
    with catalogue.read() as session:
        detail = study_detail(session, "1.2.3")
    assert detail.alerts[1].state == "acknowledged"
    assert [delivery.destination for delivery in detail.deliveries] == ["pacs"]
    assert not detail.study.provisional


def test_an_unread_provisional_message_is_withdrawn_by_the_final_one(catalogue: Catalogue) -> None:
    """So that nobody is called twice for one finding."""
    arrive(catalogue, 10)
    with catalogue.write() as session:
        record_result(session, result(provisional=True))
        record_result(session, result())
        early, final = study_detail(session, "1.2.3").alerts
    assert (early.state, final.state) == ("withdrawn", "pending")


def test_an_early_negative_is_shown_to_nobody(catalogue: Catalogue) -> None:
    """A provisional result without a suspicion is not the study's result."""
    arrive(catalogue, 10)
    assert asked(catalogue) == 1
    with catalogue.write() as session:
        job = claim(session, queue="analyse", owner="w", ttl_s=60)
        assert job is not None
        record_result(session, result(provisional=True, conclusion="none_marked"))
        finish(session, job.id, "w")
        assert latest_result(session, "1.2.3") is None
        (study,) = list_studies(session)
    assert (study.state, study.result_id, study.conclusion) == ("ready", None, None)
