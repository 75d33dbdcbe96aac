"""STAT from the modality worklist: asked once per study, believed only about that study, and never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.doctor import Level, check_worklist
from ichor.catalogue import intake, jobs, settling
from ichor.catalogue.lanes import STAT_PRIORITY
from ichor.errors import PeerUnreachable
from ichor.settings import Settings
from tests.ichor.catalogue.examples import instance
from tests.peers.certificates import make_certificates
from tests.peers.programs import free_port, wait_until
from tests.peers.tls_front import TlsFront
from tests.peers.wlmscpfs import Wlmscpfs
from tests.worker.run.node import Node
from worker.worklist import WorklistWatch


@pytest.fixture
def wlmscpfs(tmp_path: Path) -> Iterator[Wlmscpfs]:
    """A worklist with an urgent order, a routine one, and one that says nothing."""
    server = Wlmscpfs(tmp_path / "worklist")
    server.order("A-STAT", "STAT")
    server.order("A-HIGH", "HIGH")
    server.order("A-ROUTINE", "ROUTINE")
    server.start()
    yield server
    server.stop()


def lanes(peer: Any) -> dict[str, Any]:
    return {"worklist": {"host": peer.host, "port": peer.port, "ae_title": peer.ae_title, "timeout_s": 5.0}}


def arrive(node: Node, *accession_numbers: str) -> None:
    """File one study of one slice under each accession number, and let them settle."""
    with node.catalogue.write() as session:
        for number, accession in enumerate(accession_numbers):
            study = f"1.2.{number}.{len(accession)}"
            received = instance(1, study=study, series=f"{study}.1")
            intake.record_instances(session, [replace(received, accession_number=accession)])
        settling.settle(session, settle_s=0, study_settle_s=1000)


def order_of_claims(node: Node) -> list[tuple[str, bool]]:
    """Take every job, and give accession number and urgency of its study."""
    found: list[tuple[str, bool]] = []
    while True:
        with node.catalogue.write() as session:
            job = jobs.claim(session, queue="analyse", owner="w", ttl_s=20)
            if job is None:
                return found
            jobs.finish(session, job.id, "w")
        accession = node.detail(job.study_instance_uid).study.accession_number
        found.append((accession, job.priority == STAT_PRIORITY))


@pytest.mark.integration
def test_what_was_ordered_as_urgent_goes_first(make_node: Callable[..., Node], wlmscpfs: Wlmscpfs) -> None:
    """Jobs that wait already are put first, each study once; the others keep their order."""
    node = make_node(lanes=lanes(wlmscpfs))
    arrive(node, "A-ROUTINE", "", "A-NOBODY", "A-HIGH", "A-STAT")
    assert [check.level for check in check_worklist(node.settings)] == [Level.OK]
    watch = WorklistWatch(node.catalogue, node.settings)
    assert watch.tick() == 2
    assert watch.tick() == 0
    assert order_of_claims(node) == [
        ("A-HIGH", True),
        ("A-STAT", True),
        ("A-ROUTINE", False),
        ("", False),
        ("A-NOBODY", False),
    ]


@pytest.mark.integration
def test_a_worklist_behind_mutual_tls(make_node: Callable[..., Node], wlmscpfs: Wlmscpfs, tmp_path: Path) -> None:
    """Asked over TLS, with our certificate; to whom is not believed no accession number is shown."""
    issued = make_certificates(tmp_path / "certificates")
    tls = {"tls": True, "ca_certificates": issued.certificate("authority")}
    tls |= {"client_certificate": issued.certificate("client"), "client_key": issued.key("client")}
    with TlsFront(wlmscpfs.port, issued.server_context()) as front:
        there = {**lanes(wlmscpfs)["worklist"], "port": front.port, **tls}
        node = make_node(lanes={"worklist": there})
        arrive(node, "A-ROUTINE", "A-STAT")
        assert [check.level for check in check_worklist(node.settings)] == [Level.OK]
        assert WorklistWatch(node.catalogue, node.settings).tick() == 1
        believed = front.passed
        other = Settings(
            data_dir=node.settings.data_dir,
            lanes={"worklist": {**there, "ca_certificates": issued.certificate("stranger")}},  # type: ignore[arg-type]  # as the file has it
        )
        with pytest.raises(PeerUnreachable, match="certificate is not believed"):
            WorklistWatch(node.catalogue, other).tick()
        assert front.passed == believed
    assert order_of_claims(node) == [("A-STAT", True), ("A-ROUTINE", False)]


@pytest.mark.integration
def test_the_watch_asks_by_itself(make_node: Callable[..., Node], wlmscpfs: Wlmscpfs) -> None:
    """While it is open, a study that comes is looked up; the timeline says that it is urgent."""
    node = make_node(lanes=lanes(wlmscpfs))
    with WorklistWatch(node.catalogue, node.settings):
        arrive(node, "A-STAT")
        study = "1.2.0.6"
        wait_until(lambda: "study_stat" in [event.name for event in node.detail(study).events], what="urgent")


# pynetdicom forgets to close the socket of a refused connection
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_a_worklist_that_is_away_is_asked_again(make_node: Callable[..., Node]) -> None:
    """The study stays routine, and is asked for at the next look."""

    class Away:
        host, port, ae_title = "127.0.0.1", free_port(), "WORKLIST"

    node = make_node(lanes=lanes(Away))
    arrive(node, "A-STAT")
    watch = WorklistWatch(node.catalogue, node.settings)
    for _ in range(2):
        with pytest.raises(PeerUnreachable):
            watch.tick()
    assert order_of_claims(node) == [("A-STAT", False)]


def test_without_a_worklist_nobody_is_asked(node: Node) -> None:
    """The default: no thread, no query."""
    watch = WorklistWatch(node.catalogue, node.settings)
    with watch:
        assert not watch._thread.is_alive()
