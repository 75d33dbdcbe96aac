"""A listener that is killed loses nothing that it said was received."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import select

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Instance, Series
from ichor.sections import DicomSettings, DiskSettings
from ichor.settings import Settings
from listener.dimse import serving
from listener.intake import receiving
from tests.listener import wire
from tests.listener.nodes import ListenProcess
from tests.listener.running import Sender
from tests.listener.samples import encode, make_ct
from tests.peers.programs import free_port, wait_until

LISTEN = """
import sys, threading
from pathlib import Path
from ichor.sections import DicomSettings, DiskSettings
from ichor.settings import Settings
from listener.cataloguer import Cataloguer
from listener.dimse import run_listener
if sys.argv[3] == "deaf":
    Cataloguer._enter = lambda self, batch: threading.Event().wait()  # between success and row, for as long as it takes
settings = Settings(data_dir=Path(sys.argv[1]), dicom=DicomSettings(port=int(sys.argv[2])),
                    disk=DiskSettings(min_free_gb=0))
run_listener(settings, stop=threading.Event(), on_ready=lambda: print("ready", flush=True))
"""


def start(data_dir: Path, port: int, how: str) -> subprocess.Popen[str]:
    """Start a listener process and wait until it takes associations."""
    command = [sys.executable, "-c", LISTEN, str(data_dir), str(port), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    while (line := process.stdout.readline()) and "ready" not in line:
        pass
    assert process.poll() is None
    return process


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as a power cut would."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def node(tmp_path: Path) -> Settings:
    """Settings with a port that is free now."""
    return Settings(data_dir=tmp_path / "data", dicom=DicomSettings(port=free_port()), disk=DiskSettings(min_free_gb=0))


def test_killed_between_success_and_row(node: Settings) -> None:
    """Instances whose rows a kill prevented get them at the next start, each once, bit for bit."""
    slices = [make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", InstanceNumber=n) for n in range(5)]
    process = start(node.data_dir, node.dicom.port, "deaf")
    catalogue = Catalogue.open(node.resolved_catalogue_url)
    try:
        sender = Sender(node.dicom.port)
        assert [sender.send(ds) for ds in slices] == [0] * 5
        kill(process)
        assert _paths(catalogue) == []
        with receiving(node, catalogue) as receiver, serving(node.dicom, receiver):
            assert sender.send(slices[0]) == 0  # the sender, unsure, sends one again
            wait_until(lambda: len(_paths(catalogue)) == 5)
        for ds in slices:
            path = receiver.store.spool_path("1.2", "1.2.3", ds.SOPInstanceUID)
            assert path.read_bytes().endswith(encode(ds))
        assert len(_paths(catalogue)) == 5
    finally:
        catalogue.close()


def test_killed_while_sending(node: Settings) -> None:
    """Whatever was answered with Success before a kill is there after it, and nothing else."""
    kept: list[str] = []
    catalogue = Catalogue.open(node.resolved_catalogue_url)
    process = start(node.data_dir, node.dicom.port, "listening")
    killer = threading.Timer(0.4, kill, (process,))
    try:
        with Sender(node.dicom.port).association() as association:
            killer.start()
            while association.is_established:
                ds = make_ct(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
                ds.ensure_file_meta()
                ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                # An empty answer: the connection broke, and the sender knows nothing.
                if association.send_c_store(ds).get("Status") != 0:
                    break
                kept.append(ds.SOPInstanceUID)
        killer.join()
        assert kept
        with receiving(node, catalogue) as receiver:
            spooled = {path.stem: path for path in receiver.store.spool_dir.rglob("*.dcm")}
            assert set(kept) <= set(spooled)
            # The one without an answer may have been kept, but then whole.
            assert len(spooled) - len(kept) <= 1
            wait_until(lambda: len(_paths(catalogue)) == len(spooled))
            for path in spooled.values():
                assert pydicom.dcmread(path).PixelData == make_ct().PixelData
    finally:
        catalogue.close()


def _paths(catalogue: Catalogue) -> list[str]:
    with catalogue.read() as session:
        return list(session.scalars(select(Instance.path)))


KILLS = int(os.environ.get("CRASH_KILLS", "3"))
STUDIES = int(os.environ.get("CRASH_STUDIES", "2"))
SLICES = 12
SLICE_BYTES = 128 * 1024


@pytest.mark.integration
def test_killed_again_and_again_while_studies_come(node: Settings) -> None:
    """Senders that repeat what got no Success lose nothing over a listener that dies all the time; nothing is doubled.

    `make crash` kills it fifty times while twenty studies come.
    """
    chance = random.Random(KILLS)
    listen = ListenProcess(node)
    listen.start()
    studies = [study_of(number, chance) for number in range(STUDIES)]
    sending = threading.Event()
    sending.set()
    rounds = 0
    with ThreadPoolExecutor(STUDIES) as pool:
        try:
            sent = [pool.submit(send_with_retries, node.dicom.port, study, sending) for study in studies]
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.05, 1.5))
                if chance.random() < 0.5:
                    listen.kill()
                    listen.start()
                else:  # one acceptor, which the others outlive and the parent replaces
                    acceptors = listen.acceptors()
                    if acceptors:
                        chance.choice(acceptors).kill()
        finally:
            sending.clear()  # every sender ends with the study that it is at
        rounds = sum(one.result(timeout=240) for one in sent)
    listen.kill()
    assert rounds >= STUDIES
    catalogue = Catalogue.open(node.resolved_catalogue_url)
    with receiving(node, catalogue) as receiver:
        spooled = {path.stem: path for path in receiver.store.spool_dir.rglob("*.dcm")}
        wanted = {str(ds.SOPInstanceUID): ds for study in studies for ds in study}
        assert spooled.keys() == wanted.keys()
        for uid, path in spooled.items():
            assert path.read_bytes().endswith(encode(wanted[uid]))
        wait_until(lambda: len(_paths(catalogue)) >= len(wanted), timeout_s=60)
        assert sorted(_paths(catalogue)) == sorted(str(path) for path in spooled.values())
        assert list(receiver.store.quarantine_dir.rglob("*.dcm")) == []
        with catalogue.read() as session:
            assert sum(session.scalars(select(Series.instance_count))) == len(wanted)
    catalogue.close()


def study_of(number: int, chance: random.Random) -> list[Dataset]:
    """Return the slices of one study."""
    return [
        make_ct(
            StudyInstanceUID=f"1.2.{number}",
            SeriesInstanceUID=f"1.2.{number}.1",
            SOPInstanceUID=f"1.2.{number}.1.{instance}",
            PixelData=chance.randbytes(SLICE_BYTES),
        )
        for instance in range(1, SLICES + 1)
    ]


def send_with_retries(port: int, study: list[Dataset], sending: threading.Event) -> int:
    """Send a study until every slice got its Success, again and again while `sending`; return how often."""
    rounds = 0
    while sending.is_set() or not rounds:
        for ds in study:
            while not stored(port, ds):
                time.sleep(0.05)
        rounds += 1
    return rounds


def stored(port: int, ds: Dataset) -> bool:
    """Send one slice over an association of its own; say whether Success came back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(wire.associate_rq())
            if not connection.recv(65536).startswith(b"\x02"):
                return False
            connection.sendall(b"".join(wire.store(ds, encode(ds), fragment_bytes=16000)))
            answer = connection.recv(65536)
            connection.sendall(wire.RELEASE_RQ)
            return answer.startswith(b"\x04") and b"\0\0\0\x09\x02\0\0\0\0\0" in answer  # (0000,0900) is 0
    except OSError:
        return False
