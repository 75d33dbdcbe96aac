"""An archive that is asked by C-FIND and fetched from by C-GET or C-MOVE (PS3.4 C, Study Root)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydicom import Dataset
from pynetdicom import build_context, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # built from a table when imported
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from ichor.errors import IchorError, PeerOffersNoQuery, PeerRejected, PeerUnreachable
from ichor.peers.archive import Fetched, FoundStudy, Retrieval, Take, Wanted, study_time
from ichor.peers.dimse import SUCCESS, Peer, associated, check_find_status, status_of

if TYPE_CHECKING:
    from io import BytesIO

    from pynetdicom.dimse_primitives import C_STORE

TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, SV1
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
)
"""Uncompressed first, so that nobody compresses for our sake; the others for archives that send as they store."""
OUT_OF_RESOURCES = 0xA700  # PS3.4 Table B.2-1
SUBOPERATIONS_FAILED = 0xB000  # PS3.4 Tables C.4-2 and C.4-3
PENDING = frozenset({0xFF00, 0xFF01})


class DimseArchive:
    """One archive, over DIMSE."""

    def __init__(self, peer: Peer, *, sop_class_uids: Sequence[str], move_to: str = "") -> None:
        """Fetch by C-GET; with `move_to`, by C-MOVE to the AE title of a listener, which takes the images in."""
        self._peer = peer
        self._sop_class_uids = tuple(sop_class_uids)
        self._move_to = move_to

    def studies(self, wanted: Wanted) -> Iterator[FoundStudy]:
        """Yield the studies that fit."""
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = wanted.study_instance_uid
        query.StudyDate = "" if wanted.since is None else f"{wanted.since:%Y%m%d}-"
        query.ModalitiesInStudy = wanted.modality
        query.StudyTime = ""
        query.NumberOfStudyRelatedInstances = ""
        for answer in self._find(query):
            modalities = answer.get("ModalitiesInStudy") or ()
            study = FoundStudy(
                study_instance_uid=str(answer.get("StudyInstanceUID", "")),
                began_at=study_time(str(answer.get("StudyDate", "")), str(answer.get("StudyTime", ""))),
                modalities=frozenset([modalities] if isinstance(modalities, str) else map(str, modalities)),
                instances=_integer(answer.get("NumberOfStudyRelatedInstances")),
            )
            if study.study_instance_uid and wanted.fits(study):
                yield study

    def series_instances(self, study_instance_uid: str, series_instance_uid: str) -> int | None:
        """Return what the archive says of a series."""
        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.StudyInstanceUID = study_instance_uid
        query.SeriesInstanceUID = series_instance_uid
        query.NumberOfSeriesRelatedInstances = ""
        for answer in self._find(query):
            if str(answer.get("SeriesInstanceUID", "")) == series_instance_uid:
                return _integer(answer.get("NumberOfSeriesRelatedInstances"))
        return None

    def retrieve(self, study_instance_uid: str, take: Take) -> Retrieval:
        """Fetch a study; with C-MOVE the images come to the listener, and `take` is not called."""
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = study_instance_uid
        return self._move(query) if self._move_to else self._get(query, take)

    def _find(self, query: Dataset) -> list[Dataset]:
        found = []
        with associated(self._peer, [build_context(StudyRootQueryRetrieveInformationModelFind)]) as association:
            if not association.is_established:
                raise PeerOffersNoQuery
            for answer, identifier in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
                check_find_status(self._peer, status_of(self._peer, answer))
                if identifier is not None:
                    found.append(identifier)
        return found

    def _get(self, query: Dataset, take: Take) -> Retrieval:
        refused: list[IchorError] = []
        contexts = [build_context(StudyRootQueryRetrieveInformationModelGet)]
        contexts += [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in self._sop_class_uids]
        # PS3.7 D.3.3.4: on an association of ours the archive is the one that stores.
        roles = [build_role(uid, scp_role=True) for uid in self._sop_class_uids]
        handlers = [(evt.EVT_C_STORE, _taken, [take, refused])]
        with associated(self._peer, contexts, handlers, roles=roles) as association:
            if not _offers(association, StudyRootQueryRetrieveInformationModelGet):
                raise PeerRejected(f"{self._peer.ae_title} does not offer C-GET.")
            return self._ended(association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet), refused)

    def _move(self, query: Dataset) -> Retrieval:
        contexts = [build_context(StudyRootQueryRetrieveInformationModelMove)]
        with associated(self._peer, contexts) as association:
            if not association.is_established:
                raise PeerRejected(f"{self._peer.ae_title} does not offer C-MOVE.")
            answers = association.send_c_move(query, self._move_to, StudyRootQueryRetrieveInformationModelMove)
            return self._ended(answers, [])

    def _ended(self, answers: Iterator[tuple[Dataset, Any]], refused: list[IchorError]) -> Retrieval:
        last = Dataset()
        for answer, _ in answers:
            last = answer
        status = status_of(self._peer, last)
        if status not in {SUCCESS, SUBOPERATIONS_FAILED} and status not in PENDING:
            if status & 0xFF00 == OUT_OF_RESOURCES:
                raise PeerUnreachable(f"{self._peer.ae_title} cannot send the study now (status {status:04X}).")
            raise PeerRejected(f"{self._peer.ae_title} does not send the study (status {status:04X}).")
        completed = int(last.get("NumberOfCompletedSuboperations") or 0)
        failed = int(last.get("NumberOfFailedSuboperations") or 0)
        return Retrieval(completed=completed, failed=max(failed, len(refused)))


def _taken(event: evt.Event, take: Take, refused: list[IchorError]) -> int:
    """Answer a C-STORE sub-operation."""
    request = cast("C_STORE", event.request)
    with cast("BytesIO", request.DataSet).getbuffer() as data:
        try:
            take(
                Fetched(
                    sop_class_uid=str(request.AffectedSOPClassUID),
                    sop_instance_uid=str(request.AffectedSOPInstanceUID),
                    transfer_syntax_uid=str(event.context.transfer_syntax),
                    data=data,
                )
            )
        except IchorError as error:
            refused.append(error)
            return OUT_OF_RESOURCES
    return SUCCESS


def _offers(association: Any, sop_class_uid: str) -> bool:
    return any(str(item.abstract_syntax) == sop_class_uid for item in association.accepted_contexts)


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
