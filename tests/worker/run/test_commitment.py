"""Proof of arrival by storage commitment: at once, later at the listener, never, and with losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from ichor.sections import DicomSettings
from listener.dimse import serving
from listener.intake import receiving
from tests.painting import PaintedSeries
from tests.peers.committing import CommittingScp
from tests.peers.orthanc import Orthanc
from tests.peers.programs import free_port, wait_until
from tests.peers.recording import RecordingScp
from tests.worker.run.node import Node
from tests.worker.run.test_delivery import KINDS, destination, drain_until_closed, publish_three, the_delivery


@pytest.fixture
def start_peer() -> Iterator[Callable[[Any], CommittingScp]]:
    """Start a PACS that commits in some way; each one ends with the test."""
    with ExitStack() as stack:

        def start(answering: Any) -> CommittingScp:
            peer = CommittingScp(answering)
            peer.start()
            stack.callback(peer.stop)
            return peer

        yield start


@contextmanager
def listening(node: Node, port: int = 0) -> Iterator[int]:
    """Run the node's listener, and give its port."""
    dicom = DicomSettings(port=port)
    with (
        receiving(node.settings, node.catalogue) as receiver,
        serving(dicom, receiver, node.catalogue) as server,
    ):
        yield int(server.server_address[1])


def events(node: Node, study_instance_uid: str) -> list[str]:
    return [event.name for event in node.detail(study_instance_uid).events]


def test_an_answer_on_the_same_association_confirms(
    make_node: Callable[..., Node], start_peer: Callable[[Any], CommittingScp], bleed: PaintedSeries
) -> None:
    """One request for all three objects, no query, and the study says that the peer answered."""
    peer = start_peer("at once")
    node = make_node(destinations=(destination(peer, confirm="commitment"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "confirmed"
    (request,) = peer.requests
    asked = {
        str(item.ReferencedSOPInstanceUID): str(item.ReferencedSOPClassUID) for item in request.ReferencedSOPSequence
    }
    assert asked == {item.sop_instance_uid: item.sop_class_uid for item in new.objects}
    assert peer.finds == 0
    assert peer.report_statuses == [0x0000]
    assert "commitment_answered" in events(node, new.study_instance_uid)


def test_an_answer_that_comes_to_the_listener_confirms(
    make_node: Callable[..., Node], start_peer: Callable[[Any], CommittingScp], bleed: PaintedSeries
) -> None:
    """The usual way of archives: an association of their own, as provider; the delivery that waits goes on."""
    peer = start_peer("to listener")
    node = make_node(destinations=(destination(peer, confirm="commitment"),))
    new = publish_three(node, bleed)
    with listening(node) as peer.listener_port:
        assert drain_until_closed(node, new).state == "confirmed"
    assert peer.report_statuses == [0x0000]
    assert (len(peer.requests), peer.finds) == (1, 0)


def test_an_answer_nobody_asked_for_changes_nothing(
    make_node: Callable[..., Node], start_peer: Callable[[Any], CommittingScp], bleed: PaintedSeries
) -> None:
    """A transaction UID that is not known is refused, and the delivery stays unproven."""
    peer = start_peer("never")
    node = make_node(destinations=(destination(peer, confirm="commitment"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    with listening(node) as peer.listener_port:
        assert peer.bring(peer.requests[0], transaction_uid="1.2.3") == 0x0115
        assert the_delivery(node, new).state == "sent"
        assert peer.bring(peer.requests[0]) == 0x0000
    assert drain_until_closed(node, new).state == "confirmed"
    assert len(peer.requests) == 1


@pytest.mark.parametrize("answering", ["never", "refuses"])
def test_a_peer_that_does_not_commit_is_queried(
    make_node: Callable[..., Node], start_peer: Callable[[Any], CommittingScp], bleed: PaintedSeries, answering: Any
) -> None:
    """Silence for half of the time, or a refusal: the query proves it instead, and nothing is sent twice."""
    peer = start_peer(answering)
    node = make_node(
        destinations=(destination(peer, confirm="commitment"),), delivery={"hold": False, "confirm_timeout_s": 8.0}
    )
    new = publish_three(node, bleed)
    assert drain_until_closed(node, new).state == "confirmed"
    assert peer.finds == 3
    assert {len(sums) for sums in peer.contents.values()} == {1}


def test_a_peer_without_commitment_is_queried(
    make_node: Callable[..., Node], recording_scp: RecordingScp, bleed: PaintedSeries
) -> None:
    """Where the presentation context is not accepted the query does at once."""
    node = make_node(destinations=(destination(recording_scp, confirm="commitment"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "confirmed"
    assert recording_scp.finds == 3


def test_what_is_not_committed_is_sent_again(
    make_node: Callable[..., Node], start_peer: Callable[[Any], CommittingScp], bleed: PaintedSeries
) -> None:
    """An object that the peer lost goes out again; the others do not."""
    peer = start_peer("at once")
    peer.loses = {KINDS["seg"]}
    node = make_node(
        destinations=(destination(peer, confirm="commitment"),), delivery={"hold": False, "confirm_timeout_s": 0.5}
    )
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert [item.state for item in the_delivery(node, new).objects] == ["pending", "confirmed", "confirmed"]
    peer.loses = set()
    assert drain_until_closed(node, new).state == "confirmed"
    assert sorted(len(sums) for sums in peer.contents.values()) == [1, 1, 2]
    assert peer.second_contents() == {}


@pytest.mark.integration
def test_orthanc_commits_to_the_listener(
    make_node: Callable[..., Node], start_orthanc: Callable[..., Orthanc], bleed: PaintedSeries
) -> None:
    """A PACS of other people's making brings its answer to the node's listener."""
    port = free_port()
    orthanc = start_orthanc(modalities={"ichor": ["ICHOR", "127.0.0.1", port]})
    node = make_node(destinations=(destination(orthanc, confirm="commitment"),))
    new = publish_three(node, bleed)
    with listening(node, port):
        wait_until(
            lambda: node.drain("deliver") >= 0 and the_delivery(node, new).state == "confirmed",
            timeout_s=20.0,
            what="confirmed",
        )
    assert "commitment_answered" in events(node, new.study_instance_uid)
