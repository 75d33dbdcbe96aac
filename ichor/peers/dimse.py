"""DIMSE client (SCU): echo, store of stored bytes, query for what arrived.

Files are sent byte for byte, in the transfer syntax they are in: a result has one content, on this disk and in every
archive. Implements PS3.4 A (Verification), B (Storage) and C (Query, Study Root) as a user.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # built from a table when imported
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from ichor.errors import NotDicom, PeerOffersNoQuery, PeerRejected, PeerUnreachable
from ichor.peers.checkpoint import hold_surely
from ichor.peers.tls import Certificates, client_context, fault_of

# pynetdicom's own switch: a path is sent as the bytes of its file, not decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True

MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: presentation context IDs are the odd numbers from 1 to 255
SUCCESS = 0x0000
DUPLICATE_SOP_INSTANCE = 0x0111  # PS3.7 C.5.7
SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122  # PS3.18 Table I.2-2; DIMSE says it in the negotiation alone
SYNTAXES_REJECTED = 0x04  # PS3.8 Table 9-18: result of a context whose transfer syntaxes are not supported
REJECTED_TRANSIENT = 0x02  # PS3.8 Table 9-21


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Where a peer listens, and as whom it is called."""

    host: str
    port: int
    ae_title: str
    calling_ae_title: str
    timeout_s: float = 30.0
    tls: Certificates | None = None
    """None: unencrypted."""
    tls_name: str = ""
    """The name in the peer's certificate; empty where that is `host`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOutcome:
    """What the peer said to one object."""

    path: Path
    sop_instance_uid: str
    status: int
    """DIMSE status (PS3.4 Table B.2-1); where the peer accepted no context for the object, 0x0122, or 0xC122 where it
    takes the SOP class in another transfer syntax only."""

    @property
    def stored(self) -> bool:
        """Return whether the peer has it: success or a warning."""
        return self.status in {SUCCESS, 0x0001, 0x0107, 0x0116} or self.status & 0xF000 == 0xB000  # PS3.7 C.4

    @property
    def duplicate(self) -> bool:
        """Return whether the peer has something under this UID already; only a read-back tells whether it is ours."""
        return self.status == DUPLICATE_SOP_INSTANCE

    @property
    def transient(self) -> bool:
        """Return whether the same object may be taken later: the peer is out of resources (A7xx)."""
        return self.status & 0xFF00 == 0xA700


def echo(peer: Peer) -> None:
    """Ask the peer whether it is there.

    Raises:
        PeerUnreachable: it does not answer, or not now.
        PeerRejected: it refuses us, or offers no verification.
    """
    with associated(peer, [build_context(Verification)]) as association:
        if not association.is_established:
            raise PeerRejected(f"{peer.ae_title} does not accept C-ECHO.")
        status = status_of(peer, association.send_c_echo())
        if status != SUCCESS:
            raise PeerRejected(f"{peer.ae_title} answered the C-ECHO with status {status:04X}.")


def store(peer: Peer, paths: Sequence[Path]) -> Iterator[StoreOutcome]:
    """Send files as they are over one association, in order; yield each outcome as it comes.

    Raises:
        NotDicom: a file has no file meta information; nothing is sent.
        PeerUnreachable: the peer does not answer; what was yielded before stands.
        PeerRejected: the peer refuses the association for good.
    """
    files = [(path, *_file_meta(path)) for path in paths]
    wanted = list(dict.fromkeys((sop_class, syntax) for _, _, sop_class, syntax in files))
    if not files:
        return
    if len(wanted) > MAX_CONTEXTS:
        raise ValueError(f"{len(wanted)} kinds of objects do not go over one association")
    contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in wanted]
    with associated(peer, contexts) as association:
        refused = _refused(association, wanted)
        for path, sop_instance_uid, sop_class, syntax in files:
            status = refused.get((sop_class, syntax))
            if status is None:
                status = status_of(peer, _guarded(peer, association, path))
            yield StoreOutcome(path=path, sop_instance_uid=sop_instance_uid, status=status)


def stored_instances(peer: Peer, study_instance_uid: str, by_series: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return which of these instances (by Series Instance UID) the peer says it has (C-FIND on IMAGE level).

    All over one association, one query per instance: lists of UIDs are in the standard (PS3.4 C.2.2.2.2), and not in
    every archive.

    Raises:
        PeerOffersNoQuery: the peer does not accept the query.
        PeerUnreachable: the peer does not answer, or cannot answer now.
        PeerRejected: the peer refuses the association, or finds the query wrong.
    """
    found: set[str] = set()
    with associated(peer, [build_context(StudyRootQueryRetrieveInformationModelFind)]) as association:
        if not association.is_established:
            raise PeerOffersNoQuery
        wanted = [(series, uid) for series, uids in by_series.items() for uid in sorted(uids)]
        for series_instance_uid, sop_instance_uid in wanted:
            query = Dataset()
            query.QueryRetrieveLevel = "IMAGE"
            query.StudyInstanceUID = study_instance_uid
            query.SeriesInstanceUID = series_instance_uid
            query.SOPInstanceUID = sop_instance_uid
            # Every answer is taken, the last one too: the association must be idle before the next query.
            answers = list(association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind))
            for answer, identifier in answers:
                check_find_status(peer, status_of(peer, answer))
                if identifier is not None and str(identifier.get("SOPInstanceUID", "")) == sop_instance_uid:
                    found.add(sop_instance_uid)
    return frozenset(found)


def check_find_status(peer: Peer, status: int) -> None:
    """Raise what the status of a C-FIND answer means, unless it is pending or success (PS3.4 Tables C.4-1, K.4-1)."""
    if status in {SUCCESS, 0xFF00, 0xFF01}:
        return
    if status == SOP_CLASS_NOT_SUPPORTED:
        raise PeerOffersNoQuery
    if status == 0xA900:
        raise PeerRejected(f"{peer.ae_title} finds the query wrong (status {status:04X}).")
    raise PeerUnreachable(f"{peer.ae_title} cannot answer the query now (status {status:04X}).")


def _file_meta(path: Path) -> tuple[str, str, str]:
    """Return SOP Instance UID, SOP Class UID and Transfer Syntax UID of a file (PS3.10 7.1)."""
    try:
        meta = read_file_meta_info(path)
        return (
            str(meta.MediaStorageSOPInstanceUID),
            str(meta.MediaStorageSOPClassUID),
            str(meta.TransferSyntaxUID),
        )
    except (InvalidDicomError, AttributeError, EOFError) as error:
        raise NotDicom(f"{path.name} has no complete file meta information.") from error


@contextmanager
def associated(
    peer: Peer, contexts: list[Any], handlers: Sequence[Any] = (), *, roles: Sequence[Any] = ()
) -> Iterator[Any]:
    """Open an association and release it; where the peer is there and accepted no context, give one that is over."""
    entity = AE(ae_title=peer.calling_ae_title)
    entity.connection_timeout = peer.timeout_s
    entity.acse_timeout = peer.timeout_s
    entity.dimse_timeout = peer.timeout_s
    # Longer than any answer may take: else the association could end under a slow peer that is still at work.
    entity.network_timeout = 2 * peer.timeout_s
    tls_args = None
    if peer.tls is not None:
        tls_args = (client_context(peer.ae_title, peer.tls), peer.tls_name or peer.host)
    association = entity.associate(
        peer.host,
        peer.port,
        contexts=contexts,
        ae_title=peer.ae_title,
        ext_neg=list(roles),
        evt_handlers=list(handlers),
        tls_args=tls_args,
    )
    if not association.is_established:
        _raise_unless_without_context(peer, association)
        yield association
        return
    hold_surely(association)
    transport = association.dul.socket
    connection = None if transport is None else transport.socket
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    else:
        association.release()
    finally:
        # pynetdicom leaves closing to the garbage collector where the peer, as TLS allows, hung up first.
        association.dul.join(peer.timeout_s)
        if connection is not None:
            connection.close()


def _raise_unless_without_context(peer: Peer, association: Any) -> None:
    """Tell a peer that accepted us and nothing that we proposed from one that refuses us or is not there."""
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = f"{peer.ae_title} refused the association: {answer.result_str}, {answer.reason_str}."
        if answer.result == REJECTED_TRANSIENT:
            raise PeerUnreachable(reason)
        raise PeerRejected(reason)
    if not association.rejected_contexts:
        raise PeerUnreachable(f"{peer.ae_title} does not answer at {peer.host}:{peer.port}{_tls_fault(peer)}.")


def _tls_fault(peer: Peer) -> str:
    """Say what is wrong with a handshake that failed; pynetdicom does not tell it from a peer that is away."""
    if peer.tls is None:
        return ""
    try:
        with socket.create_connection((peer.host, peer.port), timeout=peer.timeout_s) as connection:
            context = client_context(peer.ae_title, peer.tls)
            context.wrap_socket(connection, server_hostname=peer.tls_name or peer.host).close()
    except ssl.SSLError as error:
        return f": {fault_of(error)}"
    except OSError:
        return ""
    return ": it ended the TLS connection, as it does where it does not believe our certificate"


def _refused(association: Any, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Give a status for every kind of object (SOP class, transfer syntax) that goes nowhere on this association."""
    accepted = {(str(item.abstract_syntax), str(item.transfer_syntax[0])) for item in association.accepted_contexts}
    syntaxes = {
        (str(item.abstract_syntax), str(item.transfer_syntax[0]))
        for item in association.rejected_contexts
        if item.result == SYNTAXES_REJECTED and item.transfer_syntax
    }
    return {
        kind: TRANSFER_SYNTAX_NOT_SUPPORTED if kind in syntaxes else SOP_CLASS_NOT_SUPPORTED
        for kind in wanted
        if kind not in accepted
    }


def _guarded(peer: Peer, association: Any, path: Path) -> Dataset:
    # pynetdicom raises RuntimeError where the association ended between two objects.
    if not association.is_established:
        raise PeerUnreachable(f"{peer.ae_title} ended the association.")
    answer: Dataset = association.send_c_store(path)
    return answer


def status_of(peer: Peer, answer: Dataset) -> int:
    """Return the status of an answer; an empty one stands for none (time-out, abort, broken connection)."""
    if "Status" not in answer:
        raise PeerUnreachable(f"{peer.ae_title} gave no answer within {peer.timeout_s:g} s, or ended the association.")
    return int(answer.Status)
