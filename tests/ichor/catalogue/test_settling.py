"""Completeness: pauses, late slices and several series end in the analyses that are due, and in no other."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.inputs import study_input
from ichor.catalogue.intake import record_instances
from ichor.catalogue.jobs import claim, fail, finish, retry_later
from ichor.catalogue.records import Job, ReceivedInstance
from ichor.catalogue.results import cover_input, record_result
from ichor.catalogue.settling import BATCH, settle
from ichor.catalogue.views import study_detail
from tests.ichor.catalogue.examples import DOSE_REPORT, NOON, instance, result, slices

SETTLE_S = 20.0
STUDY_SETTLE_S = 120.0


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class Node:
    """A listener, a completeness clock and a worker, at moments that the test chooses."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def receives(self, seconds: float, *items: ReceivedInstance) -> None:
        """The listener files instances at this moment."""
        with self.catalogue.write() as session:
            record_instances(session, items, now=at(seconds))

    def settles(self, seconds: float) -> int:
        """The clock ticks; give the number of analyses asked for."""
        with self.catalogue.write() as session:
            return settle(session, settle_s=SETTLE_S, study_settle_s=STUDY_SETTLE_S, now=at(seconds))

    def claims(self) -> Job | None:
        """A worker asks for work."""
        with self.catalogue.write() as session:
            return claim(session, queue="analyse", owner="w", ttl_s=60)

    def finds(self, digest: str, **changes: object) -> None:
        """The worker claims, publishes a result of the present input, and ends."""
        job = self.claims()
        assert job is not None
        with self.catalogue.write() as session:
            version = study_input(session, "1.2.3").input_version
            record_result(session, result(digest=digest, input_version=version, **changes))  # type: ignore[arg-type]
            finish(session, job.id, "w")

    def finds_nothing_fit(self) -> bool:
        """The gate accepts no series: without a closing analysis nothing is said. Return whether it was one."""
        job = self.claims()
        assert job is not None
        with self.catalogue.write() as session:
            finish(session, job.id, "w")
        return job.final

    @property
    def state(self) -> str:
        """The study's state."""
        with self.catalogue.read() as session:
            return study_detail(session, "1.2.3").study.state


@pytest.fixture
def node(catalogue: Catalogue) -> Node:
    return Node(catalogue)


def test_slices_with_pauses_end_in_one_analysis(node: Node) -> None:
    """One association per slice and pauses of a few seconds: the series is complete 20 s after the last."""
    for number in range(1, 11):
        node.receives(number * 8, instance(number))
        assert node.settles(number * 8 + 7) == 0
    assert node.state == "receiving"
    assert node.settles(99) == 0
    assert node.settles(100) == 1
    assert node.state == "queued"
    assert node.settles(101) == 0
    node.finds("d1")
    assert node.state == "analysed"
    assert [node.settles(seconds) for seconds in (150, 250, 1000)] == [0, 0, 0]


def test_a_flood_is_settled_in_bounded_steps(catalogue: Catalogue) -> None:
    """A catalogue rebuilt from a large spool must not hold up every writer: the longest quiet come first."""
    node = Node(catalogue)
    node.receives(0, *[instance(1, study=f"1.2.{number}", series=f"1.2.{number}.1") for number in range(BATCH)])
    node.receives(1, instance(1, study="1.9", series="1.9.1"))
    assert [node.settles(60), node.settles(60), node.settles(60)] == [BATCH, 1, 0]


def test_a_late_slice_makes_a_new_input(node: Node) -> None:
    """The series receives again, settles again, is analysed again."""
    node.receives(0, *slices(5))
    node.settles(20)
    node.finds("d1")
    node.receives(30, instance(6))
    assert node.state == "receiving"
    assert node.settles(49) == 0
    assert node.settles(50) == 1
    node.finds("d2", supersedes_id=1)
    assert node.state == "analysed"
    assert node.settles(1000) == 0


def test_a_slice_that_comes_while_the_analysis_runs_is_not_covered_by_it(node: Node) -> None:
    """The running job's result stands for what it read; another job follows, and waits for it."""
    node.receives(0, *slices(5))
    node.settles(20)
    job = node.claims()
    assert job is not None
    with node.catalogue.read() as session:
        version = study_input(session, "1.2.3").input_version
    node.receives(25, instance(6))
    assert node.settles(45) == 1
    assert node.claims() is None
    with node.catalogue.write() as session:
        record_result(session, result(digest="d1", input_version=version))
        finish(session, job.id, "w")
    assert node.state == "queued"
    node.finds("d2", supersedes_id=1)
    assert node.state == "analysed"
    assert node.settles(1000) == 0


def test_slices_that_have_not_settled_are_covered_by_no_result(node: Node) -> None:
    """A slice that comes while the closing analysis waits for its worker gets a closing analysis of its own."""
    node.receives(0, *slices(5))
    assert node.settles(20) == 1
    assert not node.finds_nothing_fit()
    assert node.settles(120) == 1
    node.receives(121, instance(6))
    node.finds("d1", status="not_analysed")
    assert node.settles(141) == 1
    assert not node.finds_nothing_fit()
    assert node.settles(241) == 1
    assert node.finds_nothing_fit()


def test_each_series_is_looked_at_when_it_settles(node: Node) -> None:
    """A better series that comes later gets its analysis although a result is there."""
    node.receives(0, *slices(5))
    node.receives(15, *slices(5, series="1.2.3.2"))
    assert node.settles(20) == 1
    node.finds("d1")
    assert node.settles(35) == 1
    node.finds("d2", supersedes_id=1)
    assert node.settles(1000) == 0


def test_series_that_settle_together_make_one_analysis(node: Node) -> None:
    """Not one each."""
    node.receives(0, *slices(5), *slices(5, series="1.2.3.2"))
    assert node.settles(20) == 1
    assert node.claims() is not None
    assert node.claims() is None


def test_without_a_result_the_quiet_study_gets_one_closing_analysis(node: Node) -> None:
    """Only that one may say "not analysed", and it comes once."""
    node.receives(0, *slices(5))
    node.settles(20)
    assert not node.finds_nothing_fit()
    assert node.state == "ready"
    assert node.settles(119) == 0
    assert node.settles(120) == 1
    node.finds("d1", status="not_analysed")
    assert node.state == "not_analysed"
    assert node.settles(1000) == 0


def test_a_closing_analysis_that_fails_is_not_repeated_for_ever(node: Node) -> None:
    """A study that cannot be analysed ends failed; a person may retry it."""
    node.receives(0, *slices(5))
    node.settles(20)
    node.finds_nothing_fit()
    node.settles(120)
    job = node.claims()
    assert job is not None
    assert job.final
    with node.catalogue.write() as session:
        fail(session, job.id, "w", error_code="x", error_text="y")
    assert node.state == "failed"
    assert [node.settles(seconds) for seconds in (130, 1000)] == [0, 0]


def test_a_job_that_waits_becomes_the_closing_one(node: Node) -> None:
    """A transient error delays the first look beyond the study's quiet: one job, now final."""
    node.receives(0, *slices(5))
    node.settles(20)
    job = node.claims()
    assert job is not None
    with node.catalogue.write() as session:
        retry_later(session, job.id, "w", error_code="x", error_text="y", delay_s=300)
    assert node.settles(120) == 1
    again = node.claims()
    assert again is not None
    assert (again.id, again.final, again.attempt) == (job.id, True, 2)


def test_the_closing_analysis_waits_for_a_running_one(node: Node) -> None:
    """Its result may cover the input; then none is needed."""
    node.receives(0, *slices(5))
    node.settles(20)
    job = node.claims()
    assert job is not None
    assert node.settles(500) == 0
    with node.catalogue.write() as session:
        record_result(session, result(digest="d1", input_version=1))
        finish(session, job.id, "w")
    assert node.settles(600) == 0


def test_a_series_that_changes_nothing_is_covered_by_the_old_result(node: Node) -> None:
    """A scout that comes late: the analysis finds its result again and says that it stands for the new input."""
    node.receives(0, *slices(5))
    node.settles(20)
    node.finds("d1")
    node.receives(30, instance(1, series="1.2.3.9"))
    assert node.settles(50) == 1
    job = node.claims()
    assert job is not None
    with node.catalogue.write() as session:
        cover_input(session, 1, study_input(session, "1.2.3").input_version)
        finish(session, job.id, "w")
    assert node.state == "analysed"
    assert node.settles(1000) == 0


def test_a_provisional_result_closes_nothing(node: Node) -> None:
    """Early findings may alert; the study is still to be closed."""
    node.receives(0, *slices(5))
    node.settles(20)
    node.finds("d1", provisional=True)
    assert node.settles(120) == 1
    node.finds("d1")
    assert node.state == "analysed"


def test_a_study_without_images_is_not_analysed_and_says_why(node: Node) -> None:
    """A dose report alone needs no worker; images that follow are analysed."""
    node.receives(0, instance(1, series="1.2.3.99", sop_class_uid=DOSE_REPORT, modality="SR"))
    assert node.settles(20) == 0
    assert node.state == "not_analysed"
    with node.catalogue.read() as session:
        assert study_detail(session, "1.2.3").events[-1].detail["code"] == "no_images"
    node.receives(30, *slices(5))
    assert node.state == "receiving"
    assert node.settles(50) == 1


def test_the_timeline_tells_the_whole_story(node: Node) -> None:
    """Every transition in order, from the first slice to the end."""
    node.receives(0, *slices(5))
    node.settles(20)
    node.finds("d1")
    with node.catalogue.read() as session:
        names = [event.name for event in study_detail(session, "1.2.3").events if event.subject != "delivery"]
    assert [name for name in names if name.startswith(("study", "series", "result"))] == [
        "study_receiving",
        "series_receiving",
        "series_settled",
        "study_ready",
        "study_queued",
        "study_running",
        "result_recorded",
        "study_analysed",
    ]
