"""Where pynetdicom's reactor stands still while another thread uses the association.

pynetdicom (3.0.4) asks `Association._is_paused` whether the reactor stands still, which is true for a moment after it
has gone on, and while it serves a request. A message that is sent then loses its answer to the reactor, and a release
overtakes the response to the request. `ReactorCheckpoint.clear` returns only when the reactor stands still.
"""

from __future__ import annotations

import threading
from typing import Any

LOOK_S = 0.05
"""How often the association is looked at while its reactor does not come to the checkpoint: it may have ended."""


class ReactorCheckpoint:
    """Takes the place of the event in `Association._reactor_checkpoint`."""

    def __init__(self, association: Any) -> None:
        self._association = association
        self._condition = threading.Condition()
        self._open = True
        self._standing = False

    def is_set(self) -> bool:
        """Say whether the reactor may go on."""
        with self._condition:
            return self._open

    def set(self) -> None:
        """Let the reactor go on."""
        with self._condition:
            self._open = True
            self._condition.notify_all()

    def clear(self) -> None:
        """Hold the reactor, and wait until it stands still or the association is over; in its own thread only hold."""
        with self._condition:
            self._open = False
            if threading.current_thread() is self._association:
                return
            while not self._standing and self._association.is_alive() and self._association.is_established:
                self._condition.wait(LOOK_S)

    def wait(self, timeout: float | None = None) -> bool:
        """Stand still until the reactor may go on, or time is up; return whether it may."""
        with self._condition:
            while not self._open:
                self._standing = True
                self._condition.notify_all()
                if not self._condition.wait(timeout):
                    break
            self._standing = False
            return self._open


def hold_surely(association: Any) -> None:
    """Give an association a checkpoint that holds its reactor before anything else is done with it."""
    association._reactor_checkpoint = ReactorCheckpoint(association)  # noqa: SLF001  # no hook of its own
