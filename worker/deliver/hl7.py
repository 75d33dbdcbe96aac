"""A peer that takes results as HL7 v2 messages over MLLP; an application's acknowledgement is the proof of arrival.

AA is taken. Of errors, those that pass (HL7 Table 0357: 206 record locked, 207 internal error) come again, and so does
a reject without a code (v2.5.1 2.9.2: for reasons unrelated to the message); all else is for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom

from ichor.peers import mllp
from ichor.peers.tls import client_context, tls_of
from worker.deliver.destination import Outcome, Reception
from worker.deliver.oru import Address, control_id, oru
from worker.result import AnalysisResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from socket import socket

    from ichor.catalogue.records import DeliveryObjectRow, DeliveryRow
    from ichor.peers.mllp import Acknowledgement
    from ichor.settings import Hl7Destination

INTERNAL_ERROR = 207
PASSES = frozenset({206, INTERNAL_ERROR})
REJECT = "AR"


class Hl7Peer:
    """One HL7 destination; raises SettingsError where its certificates cannot be used."""

    def __init__(self, settings: Hl7Destination, *, sending_application: str) -> None:
        self._settings = settings
        tls = tls_of(settings)
        if tls is not None:
            client_context(settings.name, tls)  # what cannot be used is said at the start
        self._address = Address(
            sending_application=sending_application,
            sending_facility=settings.sending_facility,
            receiving_application=settings.receiving_application,
            receiving_facility=settings.receiving_facility,
        )

    @property
    def asks(self) -> bool:
        """An acknowledgement by the application is a proof."""
        return True

    def send(self, items: Sequence[DeliveryObjectRow]) -> Iterator[Outcome]:
        """Send one message for each summary, over one connection."""
        settings = self._settings
        messages = [(item, *self._message(item)) for item in items]
        with connection_to(settings, timeout_s=settings.timeout_s) as connection:
            for item, message, message_control_id in messages:
                answer = mllp.exchange(connection, message, message_control_id)
                yield Outcome(item=item, reception=_reception(answer), status=_status(answer))

    def arrived(self, delivery: DeliveryRow, items: Sequence[DeliveryObjectRow]) -> frozenset[str]:  # noqa: ARG002
        """Believe the acknowledgements: only what was acknowledged is asked for."""
        return frozenset(item.sop_instance_uid for item in items)

    def _message(self, item: DeliveryObjectRow) -> tuple[bytes, str]:
        header = pydicom.dcmread(item.path, stop_before_pixels=True)
        result = AnalysisResult.from_json((item.path.parent / "result.json").read_bytes())
        message = oru(result, header, self._address, priority=self._settings.priority)
        return message, control_id(item.sop_instance_uid)


def connection_to(settings: Hl7Destination, *, timeout_s: float) -> AbstractContextManager[socket]:
    """Open a connection as the settings say; for errors see `mllp.connected`."""
    return mllp.connected(
        settings.host, settings.port, timeout_s=timeout_s, tls=tls_of(settings), tls_name=settings.tls_name
    )


def _reception(answer: Acknowledgement) -> Reception:
    if answer.accepted:
        return Reception.TAKEN
    passes = answer.error in PASSES or (answer.error is None and answer.code == REJECT)
    return Reception.LATER if passes else Reception.REFUSED


def _status(answer: Acknowledgement) -> int:
    """Give the error's code; 0 is success, and what gives no code is filed under 207, as what it most likely is."""
    if answer.accepted:
        return 0
    return INTERNAL_ERROR if answer.error is None else answer.error
