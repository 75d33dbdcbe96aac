"""A thread that uses an association and pynetdicom's reactor never take each other's messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from ichor.peers.checkpoint import ReactorCheckpoint
from ichor.peers.dimse import Peer, associated
from tests.peers.programs import LOOPBACK, free_port

PAUSE_S = 0.03


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Answer echoes."""
    entity = AE(ae_title="PEER")
    entity.add_supported_context(Verification)
    port = free_port()
    entity.start_server((LOOPBACK, port), block=False)
    yield Peer(host=LOOPBACK, port=port, ae_title="PEER", calling_ae_title="ICHOR", timeout_s=3.0)
    entity.shutdown()


class Dawdling(ReactorCheckpoint):
    """A checkpoint behind which the reactor's thread gets no processor for a moment."""

    def wait(self, timeout: float | None = None) -> bool:
        """Go on late."""
        may_go = super().wait(timeout)
        time.sleep(PAUSE_S)
        return may_go


def test_a_held_reactor_takes_no_message(peer: Peer) -> None:
    """One that was let go and has not got far yet is waited for; then it stands until it is let go again."""
    looks = 0
    with associated(peer, [build_context(Verification)]) as association:
        get_msg = association.dimse.get_msg

        def counted(block: bool = False) -> Any:  # noqa: FBT001, FBT002  # as pynetdicom calls it
            nonlocal looks
            looks += 1
            return get_msg(block)

        association.dimse.get_msg = counted
        association._reactor_checkpoint = Dawdling(association)
        for number in range(8):
            time.sleep(PAUSE_S * number / 8)
            association._reactor_checkpoint.clear()
            before = looks
            time.sleep(2 * PAUSE_S)
            assert looks == before
            association._reactor_checkpoint.set()
        assert association.send_c_echo().Status == 0x0000
        assert looks > 0


def test_an_association_that_is_over_holds_up_nobody(peer: Peer) -> None:
    """Where the reactor has ended, holding it returns at once."""
    with associated(peer, [build_context(Verification)]) as association:
        association.abort()
        association.join(3.0)
        began_s = time.monotonic()
        association._reactor_checkpoint.clear()
        assert time.monotonic() - began_s < 1.0
