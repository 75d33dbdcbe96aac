"""A recording SCP that also takes responsibility: storage commitment, answered as a test decides."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from tests.peers.programs import LOOPBACK
from tests.peers.recording import RecordingScp

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_RESPONSE = -1
Answering = Literal["at once", "to listener", "never", "refuses"]


class CommittingScp(RecordingScp):
    """Answers on the same association, on one of its own, or not at all; commits to what it has stored."""

    def __init__(self, answering: Answering) -> None:
        super().__init__()
        self.answering = answering
        self.listener_port = 0
        self.requests: list[Dataset] = []
        self.report_statuses: list[int] = []
        self.loses: set[str] = set()
        """SOP classes of which it commits to nothing."""
        self._timers: list[threading.Timer] = []

    def configure(self, entity: AE) -> list[Any]:
        """Offer storage commitment besides."""
        entity.add_supported_context(StorageCommitmentPushModel)
        return [(evt.EVT_N_ACTION, self._on_action)]

    def stop(self) -> None:
        """Stop listening; what is still to be said is not."""
        for timer in self._timers:
            timer.cancel()
        super().stop()

    def bring(self, request: Dataset, *, transaction_uid: str | None = None) -> int:
        """Open an association as provider and bring the answer; give the status of the response."""
        entity = AE(ae_title=self.ae_title)
        entity.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        association = entity.associate(LOOPBACK, self.listener_port, ext_neg=[role])
        assert association.is_established
        status = self._report(association, request, transaction_uid)
        association.release()
        self.report_statuses.append(status)
        return status

    def _on_action(self, event: Any) -> tuple[int, None]:
        self.requests.append(event.action_information)
        if self.answering == "refuses":
            return 0x0110, None
        if self.answering == "at once":
            self._later(lambda: self.report_statuses.append(self._report(event.assoc, event.action_information)))
        elif self.answering == "to listener":
            self._later(lambda: self.bring(event.action_information))
        return 0x0000, None

    def _later(self, say: Any) -> None:
        timer = threading.Timer(0.1, say)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _report(self, association: Any, request: Dataset, transaction_uid: str | None = None) -> int:
        answer = Dataset()
        answer.TransactionUID = request.TransactionUID if transaction_uid is None else transaction_uid
        items: Sequence[Dataset] = request.ReferencedSOPSequence
        kept = [item for item in items if self._has(item)]
        lost = [item for item in items if not self._has(item)]
        if kept:
            answer.ReferencedSOPSequence = kept
        if lost:
            for item in lost:
                item.FailureReason = 0x0112  # PS3.3 C.14.1.1: no such object instance
            answer.FailedSOPSequence = lost
        # PS3.4 J.3.3.1.1: event 1, all is well; event 2, failures exist
        status, _ = association.send_n_event_report(
            answer, 2 if lost else 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        return int(status.get("Status", NO_RESPONSE))

    def _has(self, item: Dataset) -> bool:
        stored = str(item.ReferencedSOPInstanceUID) in self.stored
        return stored and str(item.ReferencedSOPClassUID) not in self.loses
