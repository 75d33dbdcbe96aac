"""Jobs: claimed once, fairly, under leases that outlive nobody."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from ichor.catalogue.engine import Catalogue, database_now
from ichor.catalogue.intake import record_instances
from ichor.catalogue.jobs import (
    claim,
    enqueue,
    fail,
    failed_without_result,
    finish,
    overdue,
    ready_count,
    release_lease,
    renew,
    retry_later,
)
from ichor.catalogue.outbox import alert, delivery
from ichor.catalogue.records import Job, StudyDetail
from ichor.catalogue.results import record_result
from ichor.catalogue.schema import JobEntry
from ichor.catalogue.views import request_retry, study_detail
from ichor.errors import LeaseLost, StudyNotFound
from tests.ichor.catalogue.examples import result, slices

ROOT = Path(__file__).resolve().parents[3]


def studies(catalogue: Catalogue, count: int = 1) -> list[str]:
    uids = [f"1.2.{number}" for number in range(3, 3 + count)]
    with catalogue.write() as session:
        for uid in uids:
            record_instances(session, slices(1, study=uid, series=f"{uid}.1"))
    return uids


def queue_analysis(
    catalogue: Catalogue, uid: str, *, final: bool = False, force: bool = False, priority: int = 0
) -> int:
    with catalogue.write() as session:
        return enqueue(
            session,
            queue="analyse",
            kind="analyse",
            study_instance_uid=uid,
            final=final,
            force=force,
            priority=priority,
        )


def take(catalogue: Catalogue, owner: str = "w", max_attempts: int = 5) -> Job | None:
    with catalogue.write() as session:
        return claim(session, queue="analyse", owner=owner, ttl_s=60, max_attempts=max_attempts)


def expire(catalogue: Catalogue, job_id: int) -> None:
    """What passing time does to a lease that nobody renews."""
    with catalogue.write() as session:
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(JobEntry).where(JobEntry.id == job_id).values(lease_expires_at=past))


def detail(catalogue: Catalogue, uid: str = "1.2.3") -> StudyDetail:
    with catalogue.read() as session:
        return study_detail(session, uid)


def test_the_most_urgent_comes_first_then_the_oldest(catalogue: Catalogue) -> None:
    """Priority, then order of arrival."""
    first, second, third, fourth = studies(catalogue, 4)
    queue_analysis(catalogue, first)
    queue_analysis(catalogue, second)
    queue_analysis(catalogue, third, priority=5)
    queue_analysis(catalogue, fourth, priority=5)
    order = [job.study_instance_uid for _ in range(4) if (job := take(catalogue)) is not None]
    assert order == [third, fourth, first, second]
    assert take(catalogue) is None


def test_a_ready_job_takes_in_what_else_is_asked_of_its_study(catalogue: Catalogue) -> None:
    """One ready analysis per study; it takes over finality, force and urgency."""
    (uid,) = studies(catalogue)
    first = queue_analysis(catalogue, uid)
    assert queue_analysis(catalogue, uid, final=True) == first
    assert queue_analysis(catalogue, uid, force=True, priority=5) == first
    job = take(catalogue)
    assert job is not None
    assert (job.final, job.force, job.priority, job.attempt) == (True, True, 5, 1)
    assert job.log_context() == {"job_id": first, "queue": "analyse", "kind": "analyse", "attempt": 1}


def test_one_analysis_of_a_study_runs_and_one_waits(catalogue: Catalogue) -> None:
    """The one behind is claimed when the first has ended; other studies are not held up."""
    uid, other = studies(catalogue, 2)
    first = queue_analysis(catalogue, uid)
    assert take(catalogue) is not None
    behind = queue_analysis(catalogue, uid)
    assert behind != first
    assert take(catalogue) is None
    queue_analysis(catalogue, other)
    passing = take(catalogue)
    assert passing is not None
    assert passing.study_instance_uid == other
    with catalogue.write() as session:
        assert ready_count(session, "analyse") == 0
        finish(session, first, "w")
        assert ready_count(session, "analyse") == 1
    following = take(catalogue)
    assert following is not None
    assert following.id == behind


def test_the_database_itself_refuses_two_running_analyses(catalogue: Catalogue) -> None:
    """Even code that forgets to look cannot start a second one."""
    (uid,) = studies(catalogue)
    queue_analysis(catalogue, uid)
    assert take(catalogue) is not None
    second = queue_analysis(catalogue, uid)
    with pytest.raises(IntegrityError), catalogue.write() as session:
        session.execute(update(JobEntry).where(JobEntry.id == second).values(state="running"))


def test_a_lease_is_renewed_and_lost_by_name(catalogue: Catalogue) -> None:
    """Who holds it renews it; who does not can neither renew nor end the job."""
    (uid,) = studies(catalogue)
    job_id = queue_analysis(catalogue, uid)
    take(catalogue, "first")
    with catalogue.write() as session:
        assert renew(session, job_id, "first", 60)
        assert not renew(session, job_id, "second", 60)
        assert not renew(session, 999, "first", 60)
        for end in (finish, release_lease):
            with pytest.raises(LeaseLost):
                end(session, job_id, "second")
        with pytest.raises(LeaseLost):
            finish(session, 999, "first")
        with pytest.raises(LeaseLost):
            fail(session, job_id, "second", error_code="x", error_text="y")
        with pytest.raises(LeaseLost):
            retry_later(session, job_id, "second", error_code="x", error_text="y", delay_s=0)


def test_an_expired_lease_goes_to_the_next(catalogue: Catalogue) -> None:
    """The worker that was thought dead finds out when it wants to end."""
    (uid,) = studies(catalogue)
    job_id = queue_analysis(catalogue, uid)
    first = take(catalogue, "first")
    assert take(catalogue, "second") is None
    expire(catalogue, job_id)
    with catalogue.read() as session:
        assert ready_count(session, "analyse") == 1
    second = take(catalogue, "second")
    assert first is not None
    assert second is not None
    assert (first.attempt, second.attempt, second.id) == (1, 2, job_id)
    with catalogue.write() as session:
        assert not renew(session, job_id, "first", 60)
        with pytest.raises(LeaseLost):
            finish(session, job_id, "first")
        finish(session, job_id, "second")


def test_a_late_heartbeat_saves_a_lease_that_nobody_took(catalogue: Catalogue) -> None:
    """A worker that slept is not punished where no other was waiting."""
    (uid,) = studies(catalogue)
    job_id = queue_analysis(catalogue, uid)
    take(catalogue, "first")
    expire(catalogue, job_id)
    with catalogue.write() as session:
        assert renew(session, job_id, "first", 60)
    assert take(catalogue, "second") is None


def test_work_that_kills_its_worker_is_given_up(catalogue: Catalogue) -> None:
    """After three expired leases the study is failed with the reason, and the lane goes on."""
    uid, other = studies(catalogue, 2)
    job_id = queue_analysis(catalogue, uid)
    queue_analysis(catalogue, other)
    for _ in range(3):
        job = take(catalogue, max_attempts=3)
        assert job is not None
        assert job.study_instance_uid == uid
        expire(catalogue, job_id)
    job = take(catalogue, max_attempts=3)
    assert job is not None
    assert job.study_instance_uid == other
    seen = detail(catalogue, uid)
    assert (seen.study.state, seen.jobs[0].state, seen.jobs[0].error_code) == ("failed", "failed", "worker_lost")
    names = [event.name for event in seen.events]
    assert (names.count("job_started"), names.count("job_lease_expired")) == (3, 3)
    with catalogue.read() as session:
        assert failed_without_result(session) == (uid,)
    with catalogue.write() as session:
        record_result(session, result(study=uid, status="failed"))
    with catalogue.read() as session:
        assert failed_without_result(session) == ()


def test_tries_that_failed_for_the_moment_are_no_deaths(catalogue: Catalogue) -> None:
    """A PACS down for days costs a hundred tries; one crash after that does not give the job up."""
    (uid,) = studies(catalogue)
    job_id = queue_analysis(catalogue, uid)
    for _ in range(10):
        assert take(catalogue, max_attempts=2) is not None
        with catalogue.write() as session:
            retry_later(session, job_id, "w", error_code="peer_unreachable", error_text="no answer", delay_s=0)
    take(catalogue, max_attempts=2)
    expire(catalogue, job_id)
    job = take(catalogue, max_attempts=2)
    assert job is not None
    assert job.attempt == 12


def test_a_delayed_job_waits(catalogue: Catalogue) -> None:
    """It is neither claimed nor counted before its time, and its reason can be seen."""
    (uid,) = studies(catalogue)
    job_id = queue_analysis(catalogue, uid)
    take(catalogue)
    with catalogue.write() as session:
        retry_later(session, job_id, "w", error_code="disk_full", error_text="full", delay_s=60)
    assert take(catalogue) is None
    with catalogue.read() as session:
        assert ready_count(session, "analyse") == 0
    job = detail(catalogue).jobs[0]
    assert (job.state, job.error_code, job.error_text) == ("ready", "disk_full", "full")
    assert job.not_before - job.created_at >= timedelta(seconds=60)
    assert detail(catalogue).study.state == "queued"
    # A person's retry does not wait for the delay.
    with catalogue.write() as session:
        assert request_retry(session, uid, force=True) == job_id
    again = take(catalogue)
    assert again is not None
    assert (again.force, again.final, again.priority) == (True, True, 5)


def test_a_job_made_ready_again_takes_in_the_one_behind_it(catalogue: Catalogue) -> None:
    """Whether by retry, by drain or by an expired lease: one ready analysis remains, with both urgencies."""
    uids = studies(catalogue, 3)
    for uid, end in zip(uids, ("retry", "drain", "expiry"), strict=True):
        job_id = queue_analysis(catalogue, uid)
        taken = take(catalogue)
        assert taken is not None
        assert taken.id == job_id
        behind = queue_analysis(catalogue, uid, final=True, priority=3)
        with catalogue.write() as session:
            if end == "retry":
                retry_later(session, job_id, "w", error_code="x", error_text="y", delay_s=0)
            if end == "drain":
                release_lease(session, job_id, "w")
        if end == "expiry":
            expire(catalogue, job_id)
        again = take(catalogue)
        assert again is not None
        assert (again.id, again.final, again.priority) == (job_id, True, 3)
        assert again.attempt == (1 if end == "drain" else 2)
        states = {job.id: job.state for job in detail(catalogue, uid).jobs}
        assert states == {job_id: "running", behind: "superseded"}


def test_a_failed_analysis_fails_its_study_unless_another_follows(catalogue: Catalogue) -> None:
    """With the reason in the timeline."""
    uid, other = studies(catalogue, 2)
    job_id = queue_analysis(catalogue, uid)
    take(catalogue)
    with catalogue.write() as session:
        fail(session, job_id, "w", error_code="model_corrupted", error_text="SHA-256 differs")
    seen = detail(catalogue, uid)
    assert (seen.study.state, seen.events[-1].detail["code"]) == ("failed", "model_corrupted")
    job_id = queue_analysis(catalogue, other)
    take(catalogue)
    queue_analysis(catalogue, other)
    with catalogue.write() as session:
        fail(session, job_id, "w", error_code="x", error_text="y")
    assert detail(catalogue, other).study.state == "queued"


def test_a_delivery_whose_worker_keeps_dying_fails_visibly(catalogue: Catalogue) -> None:
    """And so does an alert that was never sent: silence would be a fault."""
    (uid,) = studies(catalogue)
    with catalogue.write() as session:
        record_result(session, result(study=uid))
    for _ in range(2):
        with catalogue.write() as session:
            job = claim(session, queue="deliver", owner="w", ttl_s=60, max_attempts=1)
        assert job is not None
        expire(catalogue, job.id)
    with catalogue.write() as session:
        assert claim(session, queue="deliver", owner="w", ttl_s=60, max_attempts=1) is None
        assert (delivery(session, 1).state, alert(session, 1).state) == ("failed", "failed")
        assert "ended 1 times" in delivery(session, 1).error


def test_what_waits_too_long_is_counted(catalogue: Catalogue) -> None:
    """For the reconciler and the administrator's alarm."""
    (uid,) = studies(catalogue)
    queue_analysis(catalogue, uid)
    with catalogue.write() as session:
        assert (ready_count(session, "analyse"), overdue(session, "analyse", older_than_s=30)) == (1, 0)
        past = database_now(session) - timedelta(seconds=31)
        session.execute(update(JobEntry).values(not_before=past))
        assert overdue(session, "analyse", older_than_s=30) == 1
        assert overdue(session, "deliver", older_than_s=30) == 0


def test_an_unknown_study_gets_no_job(catalogue: Catalogue) -> None:
    """By its type."""
    with pytest.raises(StudyNotFound), catalogue.write() as session:
        request_retry(session, "9.9", force=False)


def test_threads_claim_every_job_once(catalogue: Catalogue) -> None:
    """Eight claimers, thirty studies."""
    for uid in studies(catalogue, 30):
        queue_analysis(catalogue, uid)

    def drain(owner: str) -> list[int]:
        got = []
        while (job := take(catalogue, owner)) is not None:
            got.append(job.id)
        return got

    with ThreadPoolExecutor(8) as pool:
        claimed = [job_id for got in pool.map(drain, "abcdefgh") for job_id in got]
    assert sorted(claimed) == sorted(set(claimed))
    # On PostgreSQL a claimer may find every free row locked by others for a moment, and give up early.
    while (job := take(catalogue)) is not None:
        claimed.append(job.id)
    assert len(set(claimed)) == len(claimed) == 30


def test_processes_claim_every_job_once(catalogue: Catalogue, catalogue_url: str) -> None:
    """Two operating-system processes, let go at the same moment."""
    for uid in studies(catalogue, 20):
        queue_analysis(catalogue, uid)
    script = ROOT / "tests" / "ichor" / "catalogue" / "claimer.py"
    claimers = [
        subprocess.Popen(
            [sys.executable, str(script), catalogue_url, "analyse", owner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
        )
        for owner in ("first", "second")
    ]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    lines = [claimer.communicate(timeout=60)[0].splitlines() for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0, 0]
    claimed = Counter(line.split()[0] for got in lines for line in got)
    assert len(claimed) == 20
    assert set(claimed.values()) == {1}
    assert all(lines)
    with catalogue.read() as session:
        assert ready_count(session, "analyse") == 0


def test_claims_and_requests_at_once_never_run_a_study_twice(catalogue: Catalogue) -> None:
    """Requests, claims, retries and ends of three studies from eight threads: no deadlock, no second run, none lost."""
    uids = studies(catalogue, 3)

    def work(number: int) -> None:
        owner = f"w{number}"
        for turn in range(8):
            queue_analysis(catalogue, uids[(number + turn) % 3], final=turn % 2 == 0)
            job = take(catalogue, owner)
            if job is None:
                continue
            with catalogue.write() as session:
                if turn % 3 == 0:
                    retry_later(session, job.id, owner, error_code="x", error_text="y", delay_s=0)
                else:
                    finish(session, job.id, owner)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    while (job := take(catalogue)) is not None:
        with catalogue.write() as session:
            finish(session, job.id, "w")
    for uid in uids:
        seen = detail(catalogue, uid)
        assert {job.state for job in seen.jobs} <= {"done", "superseded"}
        assert seen.study.state == "ready"
