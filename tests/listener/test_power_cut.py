"""After a power cut at any response, every instance that was answered with Success is there again, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import select

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Instance
from ichor.sections import DicomSettings, DiskSettings
from ichor.settings import Settings
from listener.intake import receiving
from tests.listener.power_cut import SYSTEM_CALLS, Moment, moments
from tests.listener.running import Sender
from tests.listener.samples import encode, make_ct
from tests.listener.test_crash import LISTEN
from tests.peers.programs import free_port, missing, wait_until

INSTANCES = 70
"""More than the listener makes files for at a time."""


def traced_listener(data_dir: Path, port: int, log: Path) -> subprocess.Popen[str]:
    """Start a listener under strace, and wait until it takes associations."""
    strace = shutil.which("strace")
    if strace is None:
        missing("strace is not on PATH")
    command = [strace, "-f", "-y", "-s", "256", "-e", f"trace={SYSTEM_CALLS}", "-o", str(log)]
    command += [sys.executable, "-c", LISTEN, str(data_dir), str(port), "listening"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    while (line := process.stdout.readline()) and "ready" not in line:
        pass
    assert process.poll() is None
    return process


def left(moment_files: dict[str, int], moment: Moment, at_end: dict[str, int], source: Path, copy: Path) -> None:
    """Lay out what the power cut leaves: synced bytes under the names that survived, nothing in the other files."""
    where = {number: path for path, number in at_end.items()}
    for path, number in moment_files.items():
        place = copy / Path(path).relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        content = Path(where[number]).read_bytes() if number in moment.synced and number in where else b""
        place.write_bytes(content)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["least", "most"])
@pytest.mark.parametrize("answered", [1, 63, INSTANCES])
def test_a_crash_copy_holds_what_was_acknowledged(
    trace: tuple[Path, list[bytes], list[Moment], dict[str, int]], tmp_path: Path, kind: str, answered: int
) -> None:
    """The copy, cut at the last syncs before the response, gives every acknowledged instance a file and a row."""
    source, sent, disk, at_end = trace
    moment = disk[answered - 1]
    copy = tmp_path / "copy"
    for part in ("spool", "inbox"):
        (copy / part).mkdir(parents=True)
    names = {path: n for path, n in getattr(moment, kind).items() if Path(path).relative_to(source).parts[0] in PARTS}
    left(names, moment, at_end, source, copy)
    settings = Settings(data_dir=copy, dicom=DicomSettings(port=free_port()), disk=DiskSettings(min_free_gb=0))
    catalogue = Catalogue.open(settings.resolved_catalogue_url)
    try:
        with receiving(settings, catalogue) as receiver:
            wait_until(lambda: len(_rows(catalogue)) >= answered, timeout_s=60.0, what=f"{answered} rows")
            spooled = [path.read_bytes() for path in receiver.store.spool_dir.rglob("*.dcm")]
    finally:
        catalogue.close()
    assert all(any(content.endswith(data) for content in spooled) for data in sent[:answered])


PARTS = ("spool", "inbox")


@pytest.fixture(scope="module")
def trace(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[bytes], list[Moment], dict[str, int]]:
    """A listener that took instances over one association, killed after the last response, and what strace saw."""
    folder = tmp_path_factory.mktemp("traced")
    data_dir, port, log = folder / "data", free_port(), folder / "trace"
    process = traced_listener(data_dir, port, log)
    sent = []
    try:
        with Sender(port).association() as association:
            for number in range(INSTANCES):
                ds = make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", InstanceNumber=number)
                ds.ensure_file_meta()
                ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                assert association.send_c_store(ds).Status == 0
                sent.append(encode(ds))
            for child in psutil.Process(process.pid).children(recursive=True):
                os.kill(child.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    disk, at_end = moments(log.read_text(errors="replace"), data_dir)
    assert len(disk) == INSTANCES
    return data_dir, sent, disk, at_end


def _rows(catalogue: Catalogue) -> list[str]:
    with catalogue.read() as session:
        return list(session.scalars(select(Instance.path)))
