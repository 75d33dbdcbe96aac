"""Filing: idempotent, in any order, with corrections and repeats, by several listeners at once."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, text

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.inputs import settled_instances, study_input
from ichor.catalogue.intake import known_instances, mark_study, record_instances
from ichor.catalogue.records import KnownInstance, ReceivedInstance, StudyRow
from ichor.catalogue.results import record_result
from ichor.catalogue.settling import settle
from ichor.catalogue.views import list_studies, study_detail
from ichor.errors import StudyNotFound
from tests.ichor.catalogue.examples import CT, DOSE_REPORT, NOON, instance, result, slices
from tests.ichor.postgres import PostgresCluster


def record(catalogue: Catalogue, *items: ReceivedInstance) -> int:
    with catalogue.write() as session:
        return record_instances(session, items)


def study_row(catalogue: Catalogue, uid: str = "1.2.3") -> StudyRow:
    with catalogue.read() as session:
        return study_detail(session, uid).study


def test_a_series_is_filed_under_its_study(catalogue: Catalogue) -> None:
    """Counts, attributes and the first events stand."""
    assert record(catalogue, *slices(28)) == 28
    with catalogue.read() as session:
        detail = study_detail(session, "1.2.3")
    assert (detail.study.state, detail.study.series_count, detail.study.instance_count) == ("receiving", 1, 28)
    assert (detail.study.patient_id, detail.study.accession_number, detail.study.calling_ae) == ("P1", "A1", "CT1")
    assert (detail.series[0].series_number, detail.series[0].state, detail.series[0].instance_count) == (
        3,
        "receiving",
        28,
    )
    assert [event.name for event in detail.events] == ["study_receiving", "series_receiving"]


def test_repeats_change_nothing(catalogue: Catalogue) -> None:
    """Not within one batch, not across batches, not after settling: no count, no version, no event, no job."""
    assert record(catalogue, *slices(5), *slices(5)) == 5
    with catalogue.write() as session:
        settle(session, settle_s=0, study_settle_s=1000)
    with catalogue.read() as session:
        before = study_detail(session, "1.2.3")
    assert record(catalogue, *slices(5)) == 0
    with catalogue.read() as session:
        assert study_detail(session, "1.2.3") == before
    with catalogue.write() as session:
        assert settle(session, settle_s=0, study_settle_s=1000) == 0


def test_nothing_at_all_is_fine(catalogue: Catalogue) -> None:
    """An empty batch."""
    assert record(catalogue) == 0


def test_interleaved_studies_and_series_find_their_place(catalogue: Catalogue) -> None:
    """In any order; a series UID that two studies share makes two series."""
    items = [
        *slices(10),
        *slices(7, series="1.2.3.2"),
        *slices(4, study="1.2.4", series="1.2.4.1"),
        instance(1, study="1.2.5", series="1.2.3.1", sop_instance_uid="1.2.5.9"),
    ]
    random.Random(5).shuffle(items)
    for start in range(0, len(items), 6):
        record(catalogue, *items[start : start + 6])
    counts = {}
    for uid in ("1.2.3", "1.2.4", "1.2.5"):
        with catalogue.read() as session:
            detail = study_detail(session, uid)
        counts[uid] = {series.series_instance_uid: series.instance_count for series in detail.series}
        assert (detail.study.series_count, detail.study.instance_count) == (len(counts[uid]), sum(counts[uid].values()))
    assert counts == {"1.2.3": {"1.2.3.1": 10, "1.2.3.2": 7}, "1.2.4": {"1.2.4.1": 4}, "1.2.5": {"1.2.3.1": 1}}


def test_a_new_slice_is_a_new_input(catalogue: Catalogue) -> None:
    """The version rises once per batch with something new, and the study receives again."""
    record(catalogue, *slices(5))
    assert study_row(catalogue).input_version == 1
    with catalogue.write() as session:
        settle(session, settle_s=0, study_settle_s=1000)
    assert study_row(catalogue).state == "queued"
    record(catalogue, *slices(6))
    assert (study_row(catalogue).input_version, study_row(catalogue).state) == (2, "receiving")
    with catalogue.read() as session:
        assert settled_instances(session, "1.2.3") == []


def test_a_correction_replaces_and_keeps(catalogue: Catalogue) -> None:
    """Another content under a known UID: the later one counts, in the study's attributes too; none is counted twice."""
    record(catalogue, *slices(3))
    later = NOON + timedelta(minutes=5)
    fixed = instance(2, sha256="f" * 64, path=Path("/spool/fixed.dcm"), received_at=later, patient_id="P2")
    assert record(catalogue, fixed) == 1
    with catalogue.write() as session:
        assert known_instances(session, ["1.2.3.1.2"])["1.2.3.1.2"] == KnownInstance(
            sha256="f" * 64, path=Path("/spool/fixed.dcm")
        )
        settle(session, settle_s=0, study_settle_s=1000)
        assert [row.path.name for row in settled_instances(session, "1.2.3")] == [
            "1.2.3.1.1.dcm",
            "fixed.dcm",
            "1.2.3.1.3.dcm",
        ]
        assert "instance_corrected" in [event.name for event in study_detail(session, "1.2.3").events]
    row = study_row(catalogue)
    assert (row.patient_id, row.instance_count) == ("P2", 3)
    # The old content comes again, as it does from a second archive: nothing flips back.
    version = row.input_version
    assert record(catalogue, instance(2)) == 0
    assert study_row(catalogue).input_version == version


def test_a_catalogue_rebuilt_from_the_spool_is_the_same(catalogue: Catalogue) -> None:
    """In whatever order the files are found, the content received last counts."""
    versions = [
        instance(1, sha256=f"{number:064d}", received_at=NOON + timedelta(minutes=number)) for number in range(4)
    ]
    random.Random(1).shuffle(versions)
    record(catalogue, *versions[:2])
    record(catalogue, *versions[2:])
    with catalogue.read() as session:
        known = known_instances(session, ["1.2.3.1.1"]).get("1.2.3.1.1")
    assert known is not None
    assert known.sha256 == f"{3:064d}"
    assert study_row(catalogue).instance_count == 1


def test_an_instance_that_moves_to_another_study_leaves_the_first(catalogue: Catalogue) -> None:
    """A merged study: both inputs are new."""
    record(catalogue, *slices(2))
    moved = instance(2, study="1.2.9", sha256="e" * 64, received_at=NOON + timedelta(minutes=1))
    record(catalogue, moved)
    first, second = study_row(catalogue, "1.2.3"), study_row(catalogue, "1.2.9")
    assert (first.instance_count, second.instance_count) == (1, 1)
    assert (first.input_version, second.input_version) == (2, 1)


def test_own_objects_that_come_back_are_not_filed(catalogue: Catalogue) -> None:
    """A PACS that routes our SEG back starts nothing."""
    record(catalogue, *slices(2))
    with catalogue.write() as session:
        settle(session, settle_s=0, study_settle_s=1000)
        record_result(session, result())
    own = result().objects[0]
    before = study_row(catalogue)
    item = instance(1, series="2.25.5", sop_instance_uid=own.sop_instance_uid, sop_class_uid=own.sop_class_uid)
    assert record(catalogue, item) == 0
    assert study_row(catalogue) == before


def test_a_dose_report_is_filed_and_is_no_input(catalogue: Catalogue) -> None:
    """What holds no image neither changes the input nor reopens the study."""
    record(catalogue, *slices(2))
    with catalogue.write() as session:
        settle(session, settle_s=0, study_settle_s=1000)
        record_result(session, result())
        mark_study(session, "1.2.3", "analysed")
    record(catalogue, instance(1, series="1.2.3.99", sop_class_uid=DOSE_REPORT, modality="SR"))
    row = study_row(catalogue)
    assert (row.input_version, row.instance_count, row.state) == (1, 3, "analysed")


def test_the_input_names_its_version_and_only_settled_series(catalogue: Catalogue) -> None:
    """A series still coming in is not looked at, and no result stands for it: the version is the one before it."""
    with catalogue.write() as session:
        record_instances(session, slices(2), now=NOON)
        record_instances(session, slices(3, series="1.2.3.2"), now=NOON + timedelta(seconds=30))
        settle(session, settle_s=20, study_settle_s=120, now=NOON + timedelta(seconds=31))
        given = study_input(session, "1.2.3")
    assert (given.input_version, given.calling_ae) == (1, "CT1")
    assert [row.sop_instance_uid for row in given.instances] == ["1.2.3.1.1", "1.2.3.1.2"]
    assert (given.instances[0].sop_class_uid, given.instances[0].path) == (CT, Path("/spool/1.2.3.1.1.dcm"))
    assert given.first_received_at == NOON


def test_an_unknown_study_is_said(catalogue: Catalogue) -> None:
    """By its type, for the 404 of the web and the exit code of the command."""
    with catalogue.write() as session:
        with pytest.raises(StudyNotFound):
            study_input(session, "9.9")
        with pytest.raises(StudyNotFound):
            mark_study(session, "9.9", "failed")
        assert known_instances(session, ["9.9"]) == {}


def test_listeners_may_file_the_same_study_at_once(catalogue: Catalogue) -> None:
    """Eight at a time, every slice sent twice, in every order: each is filed once."""
    items = [*slices(20), *slices(20, series="1.2.3.2"), *slices(20, study="1.2.4", series="1.2.4.1")] * 2
    random.Random(3).shuffle(items)
    batches = [items[start : start + 5] for start in range(0, len(items), 5)]
    with ThreadPoolExecutor(8) as pool:
        filed = sum(pool.map(lambda batch: record(catalogue, *batch), batches))
    assert filed == 60
    with catalogue.read() as session:
        counts = {row.study_instance_uid: (row.series_count, row.instance_count) for row in list_studies(session)}
    assert counts == {"1.2.3": (2, 40), "1.2.4": (1, 20)}


@pytest.mark.integration
def test_listeners_never_wait_for_each_other_in_a_ring(postgres: PostgresCluster) -> None:
    """One finds the study with the higher id alone, and goes on when another holds the one with the lower id."""
    url = postgres.new_database()
    catalogue, slow = Catalogue.open(url), Catalogue.open(url)
    both = (instance(1, study="1.2.3"), instance(1, study="1.2.4", series="1.2.4.1"))
    looked, go_on = threading.Event(), threading.Event()

    @event.listens_for(slow._engine, "before_cursor_execute")
    def _pause(*arguments: object) -> None:
        if str(arguments[2]).startswith("INSERT INTO study"):
            looked.set()
            assert go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        with catalogue.write() as lower:
            record_instances(lower, both[:1])
            record(catalogue, both[1])
            first = pool.submit(record, slow, *both)
            assert looked.wait(60)
        second = pool.submit(record, catalogue, *both)
        while not second.done() and not _waiting_for_locks(catalogue):
            time.sleep(0.01)
        go_on.set()
        assert (first.result(60), second.result(60)) == (0, 0)
    catalogue.close()
    slow.close()


def _waiting_for_locks(catalogue: Catalogue) -> int:
    with catalogue.read() as session:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return int(session.execute(query).scalar_one())
