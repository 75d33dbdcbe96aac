"""Storage commitment as a provider (PS3.4 J): a sender asks, the node looks at its disk, and answers for what is there.

A request is in the catalogue before it is accepted, and stays there until the sender has heard the answer: on the
association that asked, else on one that the node opens to where the caller's entry says. An instance is answered for
when its file, read again, holds the very bytes that were received.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydicom import Dataset
from pynetdicom import AE, build_context, build_role, evt

from ichor.catalogue import pledges
from ichor.errors import IchorError, PermanentError, TransientError
from listener.commitment import COMMITMENT_CLASS, INVALID_ARGUMENT_VALUE, PROCESSING_FAILURE, SUCCESS
from listener.header import valid_uid
from listener.receipt import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.pledges import PledgeRow
    from ichor.sections import CallerSettings, DicomSettings

log = structlog.get_logger(__name__)

COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"  # PS3.4 J.3.5: well-known SOP Instance UID
REQUEST = 1  # PS3.4 J.3.2.1.2: Action Type ID
ALL_COMMITTED, FAILURES_EXIST = 1, 2  # PS3.4 J.3.3.1.2: Event Type ID
MAX_WANTED = 100_000

# PS3.7 C.5: statuses of an N-ACTION.
NO_SUCH_OBJECT_INSTANCE = 0x0112  # PS3.3 C.14.1.1: also a Failure Reason
CLASS_INSTANCE_CONFLICT = 0x0119  # PS3.3 C.14.1.1: also a Failure Reason
NO_SUCH_ACTION = 0x0123
NOT_AUTHORISED = 0x0124

COURTESY_S = 0.2
"""Time for the answer to the N-ACTION to go out before the report does."""
ROW_WAIT_S = 3.0
"""How long a row may take that the cataloguer still has to enter."""
LEASE_S = 120.0
SWEEP_S = 5.0
BACKOFF_S = (30.0, 120.0, 600.0, 3600.0)
GIVE_UP_AFTER_S = 24 * 3600.0
TIMEOUT_S = 30.0


class BadRequest(PermanentError):
    """The request for storage commitment is refused."""

    code = "commitment_request_refused"

    def __init__(self, status: int) -> None:
        super().__init__(f"The request for storage commitment is refused ({status:04X}).")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that this process accepted, and the association that it came on."""

    pledge: PledgeRow
    association: Association


class Pledges:
    """Accepts requests, and answers them from a thread of its own until it is closed."""

    def __init__(
        self, catalogue: Catalogue, settings: DicomSettings, entry_of: Callable[[Association], CallerSettings | None]
    ) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._entry_of = entry_of
        self._asked: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pledges", daemon=True)

    def start(self) -> None:
        """Start the thread; it also takes up what a process that died has left."""
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop; what is not answered is taken up again at the next start."""
        self._closing.set()
        self._asked.put(None)
        self._thread.join(timeout_s)

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        """Answer an N-ACTION once the request is in the catalogue."""
        association = event.assoc
        context = {"calling_ae": str(association.requestor.ae_title)}
        try:
            pledge = self._accept(event)
        except BadRequest as error:
            log.warning("commitment_request_refused", **context, status=f"{error.status:04X}")
            return error.status, None
        except IchorError as error:
            log.warning("commitment_request_not_written", **context, code=error.code)
            return PROCESSING_FAILURE, None
        log.info("commitment_requested", **context, instances=len(pledge.wanted))
        self._asked.put(Asked(pledge=pledge, association=association))
        return SUCCESS, None

    def _accept(self, event: evt.Event) -> PledgeRow:
        association = event.assoc
        entry = self._entry_of(association)
        if entry is None or not entry.commitment:
            raise BadRequest(NOT_AUTHORISED)
        request: Any = event.request
        if str(request.RequestedSOPInstanceUID) != COMMITMENT_INSTANCE:
            raise BadRequest(NO_SUCH_OBJECT_INSTANCE)
        if event.action_type != REQUEST:
            raise BadRequest(NO_SUCH_ACTION)
        transaction_uid, wanted = _read(event)
        primitive = association.requestor.primitive
        with self._catalogue.write() as session:
            return pledges.record(
                session,
                transaction_uid=transaction_uid,
                calling_ae=str(association.requestor.ae_title).strip(),
                called_ae=str(primitive.called_ae_title).strip() if primitive is not None else self._settings.ae_title,
                address=association.requestor.address,
                wanted=wanted,
                due_in_s=LEASE_S,
            )

    def _run(self) -> None:
        self._sweep()
        while not self._closing.is_set():
            try:
                asked = self._asked.get(timeout=SWEEP_S)
            except queue.Empty:
                self._sweep()
                continue
            if asked is not None:
                self._closing.wait(COURTESY_S)
                self._attempt(asked.pledge, asked.association)

    def _sweep(self) -> None:
        """Take up what is due: left by a process that died, or not heard by its sender before."""
        while not self._closing.is_set():
            try:
                with self._catalogue.write() as session:
                    pledge = pledges.claim_due(session, again_in_s=LEASE_S)
            except TransientError:
                return
            if pledge is None:
                return
            self._attempt(pledge, None)

    def _attempt(self, pledge: PledgeRow, association: Association | None) -> None:
        """Answer one request; what goes wrong is tried again later."""
        facts = {"calling_ae": pledge.calling_ae, "attempts": pledge.attempts}
        try:
            failed = self._failed(pledge)
            heard = association is not None and _report_on(association, pledge, failed)
            entry = next(
                (one for one in self._settings.callers if one.ae_title == pledge.calling_ae and one.host), None
            )
            if not heard and entry is not None:
                heard = _report_to(entry, pledge, failed)
            with self._catalogue.write() as session:
                if heard:
                    pledges.close(session, pledge.id)
                    done = len(pledge.wanted) - len(failed)
                    log.info("commitment_reported", **facts, committed=done, failed=len(failed))
                elif entry is None or pledge.age_s > GIVE_UP_AFTER_S:
                    pledges.close(session, pledge.id)
                    log.warning("commitment_not_reported", **facts, reachable=entry is not None)
                else:
                    pause_s = BACKOFF_S[min(pledge.attempts, len(BACKOFF_S)) - 1]
                    pledges.postpone(session, pledge.id, due_in_s=pause_s)
                    log.info("commitment_report_postponed", **facts, pause_s=pause_s)
        except TransientError as error:
            log.warning("commitment_report_postponed", **facts, code=error.code)
        except Exception:  # one request must not stop the others; its lease runs out
            log.exception("commitment_report_failed", **facts)

    def _failed(self, pledge: PledgeRow) -> dict[str, int]:
        """Return the Failure Reason of each instance that is not on the disk as it was received."""
        uids = [uid for _, uid in pledge.wanted]
        until_s = time.monotonic() + ROW_WAIT_S
        while True:
            held = {}
            with self._catalogue.read() as session:
                for start in range(0, len(uids), 500):
                    held.update(pledges.held_instances(session, uids[start : start + 500]))
            if len(held) == len(set(uids)) or time.monotonic() > until_s or self._closing.wait(0.25):
                break
        failed = {}
        for sop_class_uid, sop_instance_uid in pledge.wanted:
            instance = held.get(sop_instance_uid)
            if instance is None or not is_whole(Path(instance.path), instance.sha256):
                failed[sop_instance_uid] = NO_SUCH_OBJECT_INSTANCE
            elif instance.sop_class_uid != sop_class_uid:
                failed[sop_instance_uid] = CLASS_INSTANCE_CONFLICT
        return failed


def _read(event: evt.Event) -> tuple[str, list[tuple[str, str]]]:
    """Read the Action Information (PS3.4 Table J.3-1)."""
    try:
        information = event.action_information
        transaction_uid = str(information.TransactionUID)
        wanted = [
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in information.ReferencedSOPSequence
        ]
    except Exception as error:  # pydicom raises many things over what a peer may send
        raise BadRequest(INVALID_ARGUMENT_VALUE) from error
    uids = {transaction_uid, *(uid for pair in wanted for uid in pair)}
    if not wanted or len(wanted) > MAX_WANTED or not all(valid_uid(uid) for uid in uids):
        raise BadRequest(INVALID_ARGUMENT_VALUE)
    return transaction_uid, wanted


def _information(pledge: PledgeRow, failed: dict[str, int]) -> Dataset:
    """Return the Event Information (PS3.4 Table J.3-2)."""
    information = Dataset()
    information.TransactionUID = pledge.transaction_uid
    kept, lost = [], []
    for sop_class_uid, sop_instance_uid in pledge.wanted:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        if sop_instance_uid in failed:
            item.FailureReason = failed[sop_instance_uid]
            lost.append(item)
        else:
            kept.append(item)
    if kept:
        information.ReferencedSOPSequence = kept
    if lost:
        information.FailedSOPSequence = lost
    return information


def _report_on(association: Association, pledge: PledgeRow, failed: dict[str, int]) -> bool:
    """Send the report; False where the peer is gone or does not take it."""
    if not association.is_established:
        return False
    status = Dataset()
    with contextlib.suppress(RuntimeError, ValueError):  # it ended just now, or offers no such context
        status, _ = association.send_n_event_report(
            _information(pledge, failed),
            FAILURES_EXIST if failed else ALL_COMMITTED,
            COMMITMENT_CLASS,
            COMMITMENT_INSTANCE,
        )
    return bool(status.get("Status") == SUCCESS)


def _report_to(entry: CallerSettings, pledge: PledgeRow, failed: dict[str, int]) -> bool:
    """Report on an association of its own, as provider by role selection (PS3.4 J.3.3, PS3.7 D.3.3.4)."""
    entity = AE(ae_title=pledge.called_ae)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = TIMEOUT_S
    association = entity.associate(
        entry.host,
        entry.port,
        contexts=[build_context(COMMITMENT_CLASS)],
        ae_title=pledge.calling_ae,
        ext_neg=[build_role(COMMITMENT_CLASS, scp_role=True)],
    )
    if not association.is_established:
        return False
    try:
        return _report_on(association, pledge, failed)
    finally:
        association.release()
