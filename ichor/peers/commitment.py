"""Storage commitment as a user (PS3.4 J): ask a peer to answer for objects, and read its answer.

The answer may come on the same association or on one that the peer opens to our listener, minutes later; the
transaction UID tells which request it belongs to. It is random: nobody who has not seen the request can answer it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pynetdicom import build_context, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # built from a table when imported
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from ichor.errors import PeerOffersNoCommitment, PeerRejected
from ichor.peers.dimse import SUCCESS, Peer, associated, status_of

REQUEST = 1  # PS3.4 J.3.2.1.2: Action Type ID
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentAnswer:
    """What a peer answers for, and what not, with the Failure Reason of each (PS3.3 C.14.1.1)."""

    transaction_uid: str
    committed: frozenset[str]
    failed: dict[str, int]


def request_commitment(
    peer: Peer, transaction_uid: str, references: Sequence[tuple[str, str]], *, wait_s: float
) -> CommitmentAnswer | None:
    """Ask for commitment of (SOP Class UID, SOP Instance UID); None where no answer came on this association in time.

    Raises:
        PeerOffersNoCommitment: the peer does not accept the request.
        PeerUnreachable: the peer does not answer.
        PeerRejected: the peer refuses the association.
    """
    report = _Report(response_s=peer.timeout_s)
    with report, associated(peer, [build_context(StorageCommitmentPushModel)], report.handlers) as association:
        if not association.is_established:
            raise PeerOffersNoCommitment
        status, _ = association.send_n_action(
            _request(transaction_uid, references),
            REQUEST,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        if status_of(peer, status) != SUCCESS:
            raise PeerOffersNoCommitment(f"{peer.ae_title} refuses storage commitment ({status.Status:04X}).")
        waited_s = 0.0
        while waited_s < wait_s and association.is_established and not report.came.wait(POLL_S):
            waited_s += POLL_S
        report.close()
    return next((answer for answer in report.answers if answer.transaction_uid == transaction_uid), None)


class _Report:
    """What comes on the association of a request, kept apart from its release.

    pynetdicom serves an N-EVENT-REPORT in a thread of its own. A response that is sent when the release has begun is
    not allowed (PS3.8 Table 9-10: Evt9 in Sta7) and ends pynetdicom's provider in an error.
    """

    def __init__(self, *, response_s: float) -> None:
        self.answers: list[CommitmentAnswer] = []
        self.came = threading.Event()
        self.handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self._on_report), (evt.EVT_PDU_SENT, self._on_sent)]
        self._response_s = response_s
        self._lock = threading.Lock()
        self._responded, self._over = threading.Event(), threading.Event()
        self._closed = False

    def __enter__(self) -> None:
        """Begin to listen."""

    def __exit__(self, *_: object) -> None:
        """Let go whoever came too late; the association is over."""
        self._over.set()

    def close(self) -> None:
        """Take no more answers; return when the response to one that came is on its way."""
        with self._lock:
            self._closed = not self.came.is_set()
        if not self._closed:
            self._responded.wait(self._response_s)

    def _on_report(self, event: evt.Event) -> tuple[int, None]:
        answer = answer_of(event.event_information)
        with self._lock:
            late = self._closed
            if not late:
                self.answers.append(answer)
                self.came.set()
        if late:
            # The peer gets no response, and brings its answer on an association of its own (PS3.4 J.3.3.1.3).
            self._over.wait()
        return SUCCESS, None

    def _on_sent(self, event: evt.Event) -> None:
        if self.came.is_set() and isinstance(event.pdu, P_DATA_TF):
            self._responded.set()


def answer_of(information: Dataset) -> CommitmentAnswer:
    """Read the Event Information of an N-EVENT-REPORT (PS3.4 Table J.3-2); raise PeerRejected where it is none."""
    try:
        return CommitmentAnswer(
            transaction_uid=str(information.TransactionUID),
            committed=frozenset(
                str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence", [])
            ),
            failed={
                str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", 0))
                for item in information.get("FailedSOPSequence", [])
            },
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise PeerRejected("The answer to a storage commitment request cannot be read.") from error


def _request(transaction_uid: str, references: Sequence[tuple[str, str]]) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_reference(*reference) for reference in references]
    return information


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item
