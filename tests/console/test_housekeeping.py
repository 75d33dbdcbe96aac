"""What leaves the disk, and above all what does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from console.housekeeping import Housekeeping
from console.web.health import disk_state
from ichor.catalogue import beats, intake, outbox, results, retention, settling, views
from ichor.catalogue.engine import Catalogue, database_now
from ichor.catalogue.records import DeliveryState, ResultStatus
from ichor.catalogue.schema import Alert, JobEntry, Study
from ichor.sections import DiskSettings, RetentionSettings
from ichor.settings import Settings
from tests.ichor.catalogue.examples import instance, result
from worker import last_words

DAY_S = 86400.0


class Disk:
    """A data directory with a catalogue, and studies in any condition."""

    def __init__(self, data_dir: Path, **sections: object) -> None:
        values: dict[str, object] = {"disk": DiskSettings(min_free_gb=0, low_free_gb=0), **sections}
        self.settings = Settings(data_dir=data_dir, **values)  # type: ignore[arg-type]
        data_dir.mkdir(parents=True)
        self.catalogue = Catalogue.open(self.settings.resolved_catalogue_url)
        self.free_bytes = 10**12

    def study(
        self, number: int, *, age_days: float, status: ResultStatus = "analysed", delivered: DeliveryState = "confirmed"
    ) -> Path:
        """File a study with one slice and one result, unchanged for so long; give its spool folder."""
        uid = f"1.2.{number}"
        folder = self.settings.spool_dir / uid / f"{uid}.1"
        folder.mkdir(parents=True)
        path = folder / f"{uid}.1.1.dcm"
        path.write_bytes(b"slice")
        place = self.settings.results_dir / f"2.25.{number}"
        place.mkdir(parents=True)
        with self.catalogue.write() as session:
            intake.record_instances(session, [instance(1, study=uid, series=f"{uid}.1", path=path)])
            settling.settle(session, settle_s=0, study_settle_s=1e9)
            session.execute(update(JobEntry).values(state="done"))
            results.record_result(
                session, replace(result(digest=f"d{number}", study=uid, status=status), directory=place)
            )
            session.execute(update(JobEntry).values(state="done"))
            detail = views.study_detail(session, uid)
            for delivery in detail.deliveries:
                outbox.mark_delivery(session, delivery.id, delivered)
            for alert in detail.alerts:
                outbox.mark_alert(session, alert.id, "sent")
            self._age(session, uid, age_days)
        return folder.parent

    def _age(self, session: Session, uid: str, age_days: float) -> None:
        then = database_now(session) - timedelta(days=age_days)
        aged = update(Study).where(Study.study_instance_uid == uid)
        session.execute(aged.values(last_received_at=then, updated_at=then))

    def round(self) -> int:
        """One round of housekeeping, now."""
        house = Housekeeping(self.catalogue, self.settings, free_bytes=lambda: self.free_bytes, now_s=time.time())
        return house.round()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "data", retention=RetentionSettings(confirmed_days=30, not_analysed_days=10, failed_days=20))
    yield made
    made.catalogue.close()


def test_confirmed_studies_go_after_their_time(disk: Disk) -> None:
    """Files of slices and results go; the study, its result and the reason stay to be read."""
    old, young = disk.study(1, age_days=31), disk.study(2, age_days=29)
    assert disk.round() == 1
    assert not old.exists()
    assert young.exists()
    assert [path.name for path in disk.settings.results_dir.iterdir()] == ["2.25.2"]
    with disk.catalogue.read() as session:
        detail = views.study_detail(session, "1.2.1")
    assert (detail.study.state, detail.study.instance_count, len(detail.results)) == ("analysed", 0, 1)
    (event,) = [event for event in detail.events if event.name == "files_removed"]
    assert event.detail == {"why": "confirmed", "instances": 1}
    assert disk.round() == 0


@pytest.mark.parametrize("delivered", ["pending", "sent", "failed", "held"])
def test_what_is_not_confirmed_stays(disk: Disk, delivered: DeliveryState) -> None:
    """However old, and however full the disk is."""
    folder = disk.study(1, age_days=4000, delivered=delivered)
    disk.settings = disk.settings.model_copy(update={"disk": DiskSettings(low_free_gb=5)})
    disk.free_bytes = 0
    assert disk.round() == 0
    assert folder.exists()


def test_a_study_without_result_or_with_work_to_do_stays(disk: Disk) -> None:
    """Waiting jobs, unsent alerts and series that still come keep everything."""
    waiting, unsent, receiving, silent = (disk.study(number, age_days=400) for number in range(1, 5))
    with disk.catalogue.write() as session:
        ids = {study.study_instance_uid: study.id for study in session.scalars(select(Study))}
        session.execute(update(JobEntry).where(JobEntry.study_id == ids["1.2.1"]).values(state="ready"))
        alert = views.study_detail(session, "1.2.2").alerts[0]
        session.execute(update(Alert).where(Alert.id == alert.id).values(state="pending"))
        later = instance(2, study="1.2.3", series="1.2.3.1")
        intake.record_instances(session, [later])
        session.execute(update(Study).where(Study.id == ids["1.2.4"]).values(state="receiving"))
    assert disk.round() == 0
    assert all(folder.exists() for folder in (waiting, unsent, receiving, silent))


def test_not_analysed_and_failed_ones_have_their_own_time(disk: Disk) -> None:
    """Failed ones also wait until a person has acknowledged the alarm."""
    not_analysed = disk.study(1, age_days=11, status="not_analysed")
    failed = disk.study(2, age_days=21, status="failed")
    assert disk.round() == 1
    assert (not_analysed.exists(), failed.exists()) == (False, True)
    with disk.catalogue.write() as session:
        outbox.acknowledge_alert(session, views.study_detail(session, "1.2.2").alerts[0].id, "on call")
    assert disk.round() == 1
    assert not failed.exists()


def test_a_full_disk_lets_the_oldest_confirmed_go_first(disk: Disk) -> None:
    """Only as far as needed, whatever their day; what somebody may be reading now stays."""
    folders = [disk.study(number, age_days=20 - number) for number in range(1, 5)]
    disk.settings = disk.settings.model_copy(update={"disk": DiskSettings(low_free_gb=5)})

    class Filling:
        def __call__(self) -> int:
            return 10**9 * (3 + sum(not folder.exists() for folder in folders))

    house = Housekeeping(disk.catalogue, disk.settings, free_bytes=Filling(), now_s=time.time())
    assert house.round() == 2
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    today = disk.study(9, age_days=0.2)
    disk.free_bytes = 0
    assert disk.round() == 2
    assert today.exists()


def test_killed_at_any_moment_it_goes_on(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the rename and before the catalogue knows: the next round ends what was begun, and no file comes back."""
    folder = disk.study(1, age_days=31)

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(retention, "forget", killed)
        with pytest.raises(KeyboardInterrupt):
            disk.round()
    assert not folder.exists()
    assert list((disk.settings.data_dir / "trash").iterdir())
    assert disk.round() == 1
    assert not list((disk.settings.data_dir / "trash").iterdir())
    with disk.catalogue.read() as session:
        assert views.study_detail(session, "1.2.1").study.instance_count == 0


def test_what_comes_meanwhile_stays(disk: Disk) -> None:
    """A slice that is filed between the look and the removal keeps the study in the catalogue."""
    disk.study(1, age_days=31)
    with disk.catalogue.read() as session:
        (found,) = retention.removable(session, "confirmed", unchanged_for_days=30, limit=5)
    with disk.catalogue.write() as session:
        intake.record_instances(session, [instance(2, study="1.2.1", series="1.2.1.1")])
        assert not retention.forget(session, found, "confirmed")
        assert views.study_detail(session, "1.2.1").study.instance_count == 2


def test_the_quarantine_is_bounded(tmp_path: Path) -> None:
    """By age and by size, the latest staying longest."""
    disk = Disk(tmp_path / "data", retention=RetentionSettings(quarantine_days=10, quarantine_gb=25e-9))
    folder = disk.settings.quarantine_dir
    folder.mkdir()
    for number, age_days in enumerate((1, 2, 3, 11)):
        path = folder / f"1.2.{number}.dcm"
        path.write_bytes(b"0123456789")
        then = time.time() - age_days * DAY_S
        os.utime(path, (then, then))
    disk.round()
    assert sorted(path.name for path in folder.iterdir()) == ["1.2.0.dcm", "1.2.1.dcm"]
    disk.catalogue.close()


def test_a_low_disk_is_not_ready(tmp_path: Path) -> None:
    """`/readyz` says so before anything is refused in the middle."""
    settings = Settings(data_dir=tmp_path, disk=DiskSettings(low_free_gb=10**9))
    assert disk_state(settings) == "less than 1e+09 GB free: senders are refused"
    assert disk_state(settings.model_copy(update={"disk": DiskSettings(min_free_gb=0, low_free_gb=0)})) == "ok"


def begin_worker(disk: Disk, name: str) -> subprocess.Popen[str]:
    """Start a process that keeps its last words under this name; it waits for the end of its input."""
    program = (
        "import sys; from pathlib import Path; from worker import last_words\n"
        "with last_words.kept(Path(sys.argv[1]), sys.argv[2]): print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(disk.settings.data_dir), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_killed_workers_leave_is_swept(disk: Disk) -> None:
    """The empty file of a worker that was killed goes; those of the living, and of a fault not yet told, stay."""
    processes = {name: begin_worker(disk, name) for name in ("host:1:analyse", "host:11:analyse", "host:2:deliver")}
    folder = disk.settings.data_dir / last_words.FOLDER
    try:
        processes["host:1:analyse"].kill()
        processes["host:2:deliver"].send_signal(signal.SIGSEGV)
        processes["host:2:deliver"].wait(timeout=30)
        with disk.catalogue.write() as session:
            beats.beat(session, "host:11", "analyse")
        assert disk.round() == 0
        assert len(list(folder.iterdir())) == 3, "too young to tell"
        two_hours_ago = time.time() - 7200
        for path in folder.iterdir():
            os.utime(path, (two_hours_ago, two_hours_ago))
        assert disk.round() == 0
        assert {path.name for path in folder.iterdir()} == {"host_11_analyse.txt", "host_2_deliver.txt"}
        assert "Segmentation fault" in last_words.of(disk.settings.data_dir, "host:2:deliver")
    finally:
        for process in processes.values():
            process.communicate(timeout=30)
    os.utime(folder / "host_2_deliver.txt", (0, 0))
    disk.round()
    assert list(folder.iterdir()) == []
