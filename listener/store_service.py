"""C-STORE as provider (PS3.4 B): a data set comes in, is taken in, and its sender is told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
from pydicom.dataset import Dataset

from ichor.errors import BadHeader
from ichor.log import hashed_uid
from listener.admission import STATUS_PROCESSING_FAILURE, STATUS_SUCCESS, refusal_of
from listener.header import read_start
from listener.receipt import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BytesIO

    from pynetdicom import evt
    from pynetdicom.association import Association
    from pynetdicom.dimse_primitives import C_STORE

    from ichor.metrics import NodeMetrics
    from listener.header import Forecast
    from listener.inbox import InboxFile
    from listener.receipt import Receipt, Receiver
    from listener.release import Consignments
    from listener.store_command import StoreRequest

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAnswer:
    """What a sender is told of an instance: status (PS3.4 Table B.2-1), and the comment of a refusal."""

    status: int
    comment: str = ""


class StoreMessage:
    """A C-STORE whose data set is coming in, or has come."""

    def __init__(
        self, request: StoreRequest, context_id: int, transfer_syntax_uid: str, begin: Callable[[], InboxFile]
    ) -> None:
        self.request = request
        self.context_id = context_id
        self.transfer_syntax_uid = transfer_syntax_uid
        self.forecast: Forecast | None = None
        self.file: InboxFile | None = None
        self.error: Exception | None = None
        """Why there is no file; the sender is told when its data set is complete."""
        try:
            self.file = begin()
        except Exception as error:  # noqa: BLE001  # the table of refusals looks at it in `StoreService.finish`
            self.error = error

    def write(self, fragment: memoryview) -> None:
        """Take in a fragment of the data set; the first mostly tells what it is, while the others come."""
        if self.file is not None:
            self.file.write(fragment)
            if self.file.size_bytes == len(fragment):
                self.forecast = read_start(fragment, self.transfer_syntax_uid)

    def discard(self) -> None:
        """Give up what was written."""
        if self.file is not None:
            self.file.discard()


class StoreService:
    """Takes in the data sets of C-STOREs; the only place of the DIMSE side that catches broadly."""

    def __init__(self, receiver: Receiver, metrics: NodeMetrics, consignments: Consignments) -> None:
        self._receiver = receiver
        self._metrics = metrics
        self._consignments = consignments

    def begin(self, request: StoreRequest, context_id: int, transfer_syntax_uid: str) -> StoreMessage:
        """Open a file for a data set that is about to come."""
        return StoreMessage(request, context_id, transfer_syntax_uid, self._receiver.begin)

    def finish(self, association: Association, message: StoreMessage, send: Callable[[StoreAnswer], None]) -> None:
        """Take in a data set that has come, answer, and only then tell of it: the sender waits for nothing else."""
        request = message.request
        arrival = _arrival(
            association,
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=message.transfer_syntax_uid,
            move_originator=request.move_originator,
        )
        receipt = self._kept(arrival, partial(self._keep, arrival, message))
        if isinstance(receipt, StoreAnswer):
            send(receipt)
            return
        send(StoreAnswer(status=STATUS_SUCCESS))
        self._receiver.tell(receipt)
        self._note(association, arrival, receipt)

    def on_store(self, event: evt.Event) -> int | Dataset:
        """Take in what pynetdicom has read, into memory: a request whose command set came in several fragments."""
        request = cast("C_STORE", event.request)
        arrival = _arrival(
            event.assoc,
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            move_originator=request.MoveOriginatorApplicationEntityTitle or "",
        )
        receipt = self._kept(arrival, partial(self._receive, arrival, request.DataSet))
        if isinstance(receipt, StoreAnswer):
            answer = Dataset()
            answer.Status, answer.ErrorComment = receipt.status, receipt.comment
            return answer
        self._note(event.assoc, arrival, receipt)
        return STATUS_SUCCESS

    def _keep(self, arrival: Arrival, message: StoreMessage) -> Receipt:
        if message.error is not None:
            raise message.error
        if message.file is None:
            raise BadHeader("The request has no data set")
        return self._receiver.keep(arrival, message.file, message.forecast)

    def _receive(self, arrival: Arrival, data_set: BytesIO | None) -> Receipt:
        if data_set is None:
            raise BadHeader("The request has no data set")
        return self._receiver.receive(arrival, data_set.getbuffer())

    def _kept(self, arrival: Arrival, keep: Callable[[], Receipt]) -> Receipt | StoreAnswer:
        """Keep an instance, or give the answer that says why not."""
        try:
            return keep()
        except Exception as error:  # the table decides what the sender is told
            refusal = refusal_of(error)
            log.warning(
                "instance_refused",
                sop_instance=hashed_uid(arrival.sop_instance_uid),
                calling_ae=arrival.calling_ae,
                code=refusal.code,
                status=f"{refusal.status:04X}",
                exc_info=refusal.status == STATUS_PROCESSING_FAILURE,
            )
            self._metrics.instances_received.labels("dimse", "refused").inc()
            return StoreAnswer(status=refusal.status, comment=refusal.comment)

    def _note(self, association: Association, arrival: Arrival, receipt: Receipt) -> None:
        self._consignments.of(association).note(receipt.header)
        self._metrics.instances_received.labels("dimse", receipt.outcome).inc()
        if receipt.outcome == "stored":
            self._metrics.bytes_received.labels("dimse").inc(receipt.provenance.size_bytes)
        log.debug(
            "instance_received",
            sop_instance=hashed_uid(arrival.sop_instance_uid),
            calling_ae=arrival.calling_ae,
            outcome=receipt.outcome,
        )


def _arrival(
    association: Association,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    move_originator: str,
) -> Arrival:
    request = association.requestor.primitive
    return Arrival(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        calling_ae=str(association.requestor.ae_title),
        called_ae=str(request.called_ae_title) if request is not None else "",
        # PS3.7 9.1.1.1.10: what our own C-MOVE brings was not routed to us
        channel="pull" if move_originator.strip() == association.ae.ae_title.strip() else "dimse",
    )
