"""STOW-RS (PS3.18 10.5): POST /studies and /studies/{study}, for the web process to mount under its DICOMweb root.

Parts are written to the disk as they arrive and taken in, one by one, by the same receiver as C-STORE; neither a
request nor an instance is ever held in memory. Answers are DICOM JSON (PS3.18 F) only; metadata with bulk data
(`application/dicom+json` requests) and XML are refused with 415.
"""

from __future__ import annotations

import hmac
import mmap
import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import structlog
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from ichor.errors import IchorError, NotDicom, PermanentError, StoreFull
from ichor.log import hashed_uid
from ichor.metrics import NodeMetrics
from ichor.multipart import BadMultipart, MultipartReader, PartData, PartEnd, PartStart, parse_media_type
from listener.admission import (
    STATUS_OUT_OF_RESOURCES,
    STATUS_PROCESSING_FAILURE,
    DataSetMismatch,
    refusal_of,
)
from listener.header import read_header, valid_uid
from listener.part10 import read_file_meta
from listener.receipt import Arrival
from listener.release import Consignment

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from ichor.multipart import MediaType
    from ichor.sections import HttpSettings
    from listener.part10 import FileMeta
    from listener.receipt import Receiver

log = structlog.get_logger(__name__)

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
MULTIPART = "multipart/related"
CALLER = "STOW-RS"
"""Stands for the calling AE title, which HTTP does not have."""

BYTES_PER_GB = 1_000_000_000
MAX_PART_BYTES = 2 << 30
"""As for C-STORE."""
WRITE_BYTES = 1 << 20
"""What is gathered before a thread writes it: large enough that the change of threads costs nothing."""
MAX_RECEIVING_THREADS = 8

# PS3.18 Table 10.5.3-1 and I.2 (Store Instances Response Module), in DICOM JSON.
FAILED_SOP_SEQUENCE = "00081198"
REFERENCED_SOP_SEQUENCE = "00081199"
OTHER_FAILURES_SEQUENCE = "0008119A"
RETRIEVE_URL = "00081190"
FAILURE_REASON = "00081197"
REFERENCED_SOP_CLASS_UID = "00081150"
REFERENCED_SOP_INSTANCE_UID = "00081155"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An instance that was taken in."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An instance that was refused; its UIDs are empty where they could not be read."""

    sop_class_uid: str
    sop_instance_uid: str
    failure_reason: int


@dataclass(slots=True)
class Results:
    """What became of the parts of one request, in their order."""

    consignment: Consignment
    stored: list[Stored] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


def stow_app(receiver: Receiver, metrics: NodeMetrics, settings: HttpSettings) -> Starlette:
    """Return the application around a receiver, which stays the caller's; `metrics` counts what comes."""
    service = StowService(receiver, metrics, settings)
    routes = [
        Route("/studies", service.store, methods=["POST"]),
        Route("/studies/{study}", service.store, methods=["POST"]),
    ]
    return Starlette(routes=routes)


class StowService:
    """Answers store requests."""

    def __init__(self, receiver: Receiver, metrics: NodeMetrics, settings: HttpSettings) -> None:
        self._receiver = receiver
        self._tokens = tuple(token.get_secret_value().encode() for token in settings.stow_tokens)
        self._max_bytes = int(settings.stow_max_gb * BYTES_PER_GB)
        self._metrics = metrics
        self._incoming_dir = receiver.store.data_dir / "incoming"
        self._incoming_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def store(self, request: Request) -> Response:
        """Take in the parts of a request and tell what became of each."""
        study = request.path_params.get("study", "")
        media_type = parse_media_type(request.headers.get("content-type", ""))
        problem = self._unwelcome(request) or _objection(request, study, media_type)
        if problem is not None:
            return problem
        results = Results(consignment=Consignment(self._receiver.released))
        try:
            self._receiver.require_room(_announced_bytes(request))
            reader = MultipartReader(media_type.parameters.get("boundary", ""))
            await self._take_in(request, reader, study, results)
        except (BadMultipart, TooLarge, StoreFull) as error:
            log.warning("stow_refused", code=error.code, stored=len(results.stored))
            return _problem(_STATUS_OF[type(error)], str(error))
        except ClientDisconnect:
            log.warning("stow_broken_off", stored=len(results.stored))
            return _problem(400, "The body ends early")
        results.consignment.release()
        return _answer(results)

    def _unwelcome(self, request: Request) -> Response | None:
        """Return the answer to who may not store, or announces too much."""
        if not self._may_store(request):
            log.warning("stow_refused", code="token")
            headers = {"WWW-Authenticate": "Bearer"}  # RFC 6750 3
            return JSONResponse({"detail": "Show a bearer token"}, status_code=401, headers=headers)
        if _announced_bytes(request) > self._max_bytes:
            return _problem(413, f"A request has at most {self._max_bytes} bytes")
        return None

    def _may_store(self, request: Request) -> bool:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        known = [hmac.compare_digest(token, shown.strip().encode()) for token in self._tokens]
        return not self._tokens or (scheme.lower() == "bearer" and any(known))

    async def _take_in(self, request: Request, reader: MultipartReader, study: str, results: Results) -> None:
        """Read the body; every part goes to a file of its own, which is gone when its instance is taken in."""
        limiter = CapacityLimiter(MAX_RECEIVING_THREADS)
        part: IncomingPart | None = None
        try:
            left_bytes = self._max_bytes
            async for chunk in request.stream():
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    raise TooLarge(f"A request has at most {self._max_bytes} bytes")
                for piece in reader.feed(chunk):
                    if isinstance(piece, PartStart):
                        part = IncomingPart(self._incoming_dir, piece.headers.get("content-type", DICOM))
                    elif isinstance(piece, PartData) and part is not None:
                        if part.gather(piece.data):
                            self._receiver.require_space(0)
                            await to_thread.run_sync(part.write, limiter=limiter)
                    elif isinstance(piece, PartEnd) and part is not None:
                        await to_thread.run_sync(self._finish, part, study, results, limiter=limiter)
                        part = None
            reader.close()
        finally:
            if part is not None:
                part.close()

    def _finish(self, part: IncomingPart, study: str, results: Results) -> None:
        """Take in a whole part; the only place of the web side that catches broadly."""
        arrival = Arrival(
            sop_class_uid="",
            sop_instance_uid="",
            transfer_syntax_uid="",
            calling_ae=CALLER,
            called_ae="",
            channel="stow",
        )
        try:
            data = part.mapped()
            meta = read_file_meta(data)
            arrival = _arrival(meta)
            _check_study(data, meta, study)
            data_set = data[meta.data_set_start :]
            receipt = self._receiver.receive(arrival, data_set)
        except Exception as error:  # the table decides what the sender is told
            refusal = refusal_of(error)
            log.warning(
                "instance_refused",
                sop_instance=hashed_uid(arrival.sop_instance_uid),
                calling_ae=CALLER,
                code=refusal.code,
                status=f"{refusal.status:04X}",
                exc_info=refusal.status == STATUS_PROCESSING_FAILURE,
            )
            failed = Failed(
                sop_class_uid=arrival.sop_class_uid,
                sop_instance_uid=arrival.sop_instance_uid,
                failure_reason=refusal.status,
            )
            results.failed.append(failed)
            self._metrics.instances_received.labels("stow", "refused").inc()
        else:
            results.consignment.note(receipt.header)
            self._metrics.instances_received.labels("stow", receipt.outcome).inc()
            if receipt.outcome == "stored":
                self._metrics.bytes_received.labels("stow").inc(data_set.nbytes)
            stored = Stored(sop_class_uid=arrival.sop_class_uid, sop_instance_uid=arrival.sop_instance_uid)
            results.stored.append(stored)
        finally:
            part.close()


class TooLarge(PermanentError):
    """The request is larger than is taken in."""

    code = "request_too_large"


_STATUS_OF: dict[type[IchorError], int] = {BadMultipart: 400, TooLarge: 413, StoreFull: 507}


class IncomingPart:
    """One part on its way: a file without a name, so that not even a killed process leaves it behind."""

    def __init__(self, folder: Path, content_type: str) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # lives as long as the part
        self._gathered = bytearray()
        self._size_bytes = 0
        self._is_dicom = parse_media_type(content_type).name == DICOM

    def gather(self, data: bytes) -> bool:
        """Keep a piece; True where enough is gathered for a write. BadMultipart where the part grows too large."""
        self._size_bytes += len(data)
        if self._size_bytes > MAX_PART_BYTES:
            raise BadMultipart(f"A part has more than {MAX_PART_BYTES} bytes")
        self._gathered += data
        return len(self._gathered) >= WRITE_BYTES

    def write(self) -> None:
        """Write what is gathered; StoreFull where the disk is."""
        self._file.write(self._gathered)
        self._gathered.clear()

    def mapped(self) -> memoryview:
        """Return the whole part without reading it into memory; NotDicom where it is none."""
        if not self._is_dicom or not self._size_bytes:
            raise NotDicom("The part is not application/dicom")
        self.write()
        self._file.flush()
        # Not closed here: an error on its way out still refers to views of it, and the last of them lets go of it.
        return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


def _objection(request: Request, study: str, media_type: MediaType) -> Response | None:
    """Return the answer to a request that is refused before its body is read."""
    if study and not valid_uid(study):
        return _problem(400, "The study in the path is not a UID")
    if media_type.name != MULTIPART or media_type.parameters.get("type", DICOM).lower() != DICOM:
        return _problem(415, f'Send multipart/related; type="{DICOM}"')
    if not _accepts_json(request.headers.get("accept", "*/*")):
        return _problem(406, f"Answers are {DICOM_JSON}")
    return None


def _arrival(meta: FileMeta) -> Arrival:
    return Arrival(
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        calling_ae=CALLER,
        called_ae="",
        channel="stow",
    )


def _check_study(data: memoryview, meta: FileMeta, study: str) -> None:
    """Refuse an instance of another study than the path names (PS3.18 10.5.1.1)."""
    if not study:
        return
    header = read_header(data[meta.data_set_start :], meta.transfer_syntax_uid, whole=False)
    if header.study_instance_uid != study:
        raise DataSetMismatch("The instance belongs to another study than the path says")


def _announced_bytes(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _accepts_json(accept: str) -> bool:
    """Say whether JSON will do; an Accept header that names only XML is refused."""
    names = {entry.partition(";")[0].strip().lower() for entry in accept.split(",")}
    return bool(names & {DICOM_JSON, "application/json", "application/*", "*/*", ""})


def _problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": text}, status_code=status)


def _answer(results: Results) -> JSONResponse:
    """Return the Store Instances Response (PS3.18 10.5.3, Tables 10.5.3-1 and I.2-1)."""
    body: dict[str, Any] = {}
    if results.stored:
        body[RETRIEVE_URL] = {"vr": "UR"}  # type 2; what came is not offered for retrieval
        body[REFERENCED_SOP_SEQUENCE] = {"vr": "SQ", "Value": [_reference(one) for one in results.stored]}
    named = [one for one in results.failed if one.sop_instance_uid]
    unnamed = [one for one in results.failed if not one.sop_instance_uid]
    if named:
        items = [{**_reference(one), **_reason(one)} for one in named]
        body[FAILED_SOP_SEQUENCE] = {"vr": "SQ", "Value": items}
    if unnamed:
        body[OTHER_FAILURES_SEQUENCE] = {"vr": "SQ", "Value": [_reason(one) for one in unnamed]}
    return JSONResponse(body, status_code=_http_status(results), media_type=DICOM_JSON)


def _http_status(results: Results) -> int:
    if not results.failed:
        return 200 if results.stored else 400
    if results.stored:
        return 202
    reasons = {one.failure_reason for one in results.failed}
    if reasons == {STATUS_OUT_OF_RESOURCES}:
        return 507
    # PS3.18 Table 10.5.3-1: 400 where nothing could be understood, 409 where what it is stands in the way.
    return 409 if any(one.sop_instance_uid for one in results.failed) else 400


def _reference(one: Stored | Failed) -> dict[str, Any]:
    return {
        REFERENCED_SOP_CLASS_UID: {"vr": "UI", "Value": [one.sop_class_uid]},
        REFERENCED_SOP_INSTANCE_UID: {"vr": "UI", "Value": [one.sop_instance_uid]},
    }


def _reason(one: Failed) -> dict[str, Any]:
    return {FAILURE_REASON: {"vr": "US", "Value": [one.failure_reason]}}
