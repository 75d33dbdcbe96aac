"""Storage commitment as a user: the answer on the association of the request, and the end of that association."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.uid import generate_uid
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from ichor.peers.commitment import request_commitment
from ichor.peers.dimse import Peer
from tests.peers.committing import NO_RESPONSE, CommittingScp
from tests.peers.programs import LOOPBACK, wait_until

CT = "1.2.840.10008.5.1.4.1.1.2"
PAUSE_S = 0.2


@pytest.fixture
def archive() -> Iterator[CommittingScp]:
    """Answer on the same association."""
    server = CommittingScp("at once")
    server.start()
    yield server
    server.stop()


def peer(server: CommittingScp) -> Peer:
    return Peer(host=LOOPBACK, port=server.port, ae_title=server.ae_title, calling_ae_title="ICHOR", timeout_s=3.0)


def test_the_release_does_not_overtake_the_response(archive: CommittingScp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer hears that its answer was taken, however late the thread that says so is."""
    send_msg = DIMSEServiceProvider.send_msg

    def late(self: DIMSEServiceProvider, primitive: Any, context_id: int) -> None:
        if isinstance(primitive, N_EVENT_REPORT) and primitive.MessageIDBeingRespondedTo is not None:
            time.sleep(PAUSE_S)
        send_msg(self, primitive, context_id)

    monkeypatch.setattr(DIMSEServiceProvider, "send_msg", late)
    answer = request_commitment(peer(archive), generate_uid(), [(CT, "1.2.3")], wait_s=5.0)
    assert answer is not None
    assert set(answer.failed) == {"1.2.3"}
    wait_until(lambda: archive.report_statuses == [0x0000], timeout_s=5.0, what="the response")


def test_an_answer_that_meets_the_release_is_left_to_come_again(
    archive: CommittingScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither taken nor responded to: nothing is sent on an association that is being released."""
    release = Association.release

    def late(self: Association) -> None:
        time.sleep(2 * PAUSE_S)
        release(self)

    monkeypatch.setattr(Association, "release", late)
    assert request_commitment(peer(archive), generate_uid(), [(CT, "1.2.3")], wait_s=0.01) is None
    wait_until(lambda: archive.report_statuses == [NO_RESPONSE], timeout_s=40.0, what="the end of the association")
