"""Taking one instance in: the one way into the spool, for C-STORE and STOW-RS alike.

When `Receiver.receive` returns, the bytes are on the disk for good, or were there before; when it raises, nothing is
listed. Another data set under a known SOP Instance UID goes to the quarantine where its pixels are others; with the
same pixels it is kept beside the first, as a version, for the catalogue to judge (`listener.cataloguer`).
"""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from ichor.catalogue.records import ReceivedInstance
from ichor.clock import utc_now
from ichor.errors import BadHeader, IchorError, StartError, StoreFull
from listener.admission import DataSetMismatch, admit_class
from listener.header import MAX_HEADER_BYTES, read_header
from listener.inbox import Inbox, abandoned, move_into
from listener.locks import InstanceLocks
from listener.part10 import FILE_START_BYTES, MAX_META_BYTES, Provenance, encode_file_start, read_file_meta
from listener.release import SeriesReleased
from listener.version import Encoded, same_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ichor.store import Store
    from listener.header import Forecast, Header, Registration
    from listener.inbox import InboxFile
    from listener.part10 import FileMeta

Outcome = Literal["stored", "duplicate", "version", "conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What a sender says about an instance, beside its bytes."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    called_ae: str
    channel: str
    """`dimse` or `stow`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConflict:
    """A second data set came under a known SOP Instance UID; it lies in the quarantine."""

    instance: ReceivedInstance
    """The second one; its path is in the quarantine."""
    difference: Literal["pixels", "header"]
    """What differs from the first: the image, or only what the header says beside patient and order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of an instance that was taken in."""

    outcome: Outcome
    header: Header
    path: Path
    provenance: Provenance
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Bytes that were received before came again; of interest where a correction has replaced them since."""

    sop_instance_uid: str
    sha256: str
    calling_ae: str


Filing = ReceivedInstance | InstanceConflict | Repeat | SeriesReleased


class Register(Protocol):
    """Where the receiver tells what it took in; must not block on the catalogue."""

    def submit(self, filing: Filing) -> None:
        """Take note of an instance, a conflict or a release."""


class Receiver:
    """Takes instances in, from any number of threads, beside other processes on the same store.

    Raises `StartError` where the data directory cannot be written.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        *,
        min_free_bytes: int,
        low_free_bytes: int = 0,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        self.store = store
        self._register = register
        self._min_free_bytes = min_free_bytes
        self._low_free_bytes = low_free_bytes
        self._free_bytes = free_bytes if free_bytes is not None else store.free_bytes
        self._inbox = Inbox(store.inbox_dir)
        try:
            self._locks = InstanceLocks(store.data_dir / "locks")
        except OSError as error:
            raise StartError(f"The data directory {store.data_dir} cannot be used: {error.strerror}.") from error

    def require_space(self, size_bytes: int) -> None:
        """Raise `StoreFull` where `size_bytes` more would leave less than the reserve."""
        if self._free_bytes() - size_bytes < self._min_free_bytes:
            raise StoreFull

    def released(self, series: SeriesReleased) -> None:
        """Tell that the sender of a series has released its association, after all that it brought."""
        self._register.submit(series)

    def has_room(self, announced_bytes: int = 0) -> bool:
        """Say whether anything new may begin; what is under way finds space for longer."""
        return self._free_bytes() - announced_bytes >= self._low_free_bytes

    def require_room(self, announced_bytes: int) -> None:
        """Raise `StoreFull` where there is none for something new."""
        if not self.has_room(announced_bytes):
            raise StoreFull
        self.require_space(announced_bytes)

    def begin(self) -> InboxFile:
        """Give a file for a data set that is about to come; hand it to `complete`, or `discard` it.

        Raises:
            StoreFull: there is no room; the sender may try again.
        """
        self.require_space(0)
        return self._inbox.open()

    def receive(self, arrival: Arrival, data: memoryview) -> Receipt:
        """Take in one encoded data set that is in memory; raises what `complete` and `begin` do.

        Args:
            arrival: what the sender says it is.
            data: its bytes, exactly as received, without file meta information.
        """
        admit_class(arrival.sop_class_uid)
        self.require_space(len(data))
        incoming = self.begin()
        incoming.write(data)
        return self.complete(arrival, incoming)

    def complete(self, arrival: Arrival, incoming: InboxFile) -> Receipt:
        """Take in one encoded data set that lies in a file of `begin`, and tell of it; raises what `keep` does."""
        receipt = self.keep(arrival, incoming)
        self.tell(receipt)
        return receipt

    def keep(self, arrival: Arrival, incoming: InboxFile, forecast: Forecast | None = None) -> Receipt:
        """Bring what lies in a file of `begin` to its place for good; the file is gone from the inbox in any case.

        Whoever is waiting for an answer may have it then; `tell` is to follow.

        Args:
            arrival: what the sender says it is.
            incoming: the file.
            forecast: what `read_start` said of it while it came.

        Raises:
            SopClassNotSupported, DataSetMismatch, BadHeader, BadUid: the instance is refused.
            StoreFull: there is no room; the sender may try again.
        """
        try:
            admit_class(arrival.sop_class_uid)
            incoming.check()
            if forecast is not None and forecast.size_bytes == incoming.size_bytes:
                header = forecast.header
            else:
                header = _header_of(incoming, arrival.transfer_syntax_uid)
            if (header.sop_class_uid, header.sop_instance_uid) != (arrival.sop_class_uid, arrival.sop_instance_uid):
                raise DataSetMismatch
            provenance = Provenance(
                received_at=utc_now(),
                sha256=incoming.sha256(),
                size_bytes=incoming.size_bytes,
                calling_ae=arrival.calling_ae,
                called_ae=arrival.called_ae,
                channel=arrival.channel,
            )
            start = encode_file_start(
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.sop_instance_uid,
                transfer_syntax_uid=arrival.transfer_syntax_uid,
                provenance=provenance,
            )
            with self._locks.held(header.sop_instance_uid):
                outcome, path = self._place(header, provenance, lambda: _encoded(incoming, arrival))
                if outcome != "duplicate":
                    incoming.keep(start, path)
        finally:
            incoming.discard()
        return Receipt(
            outcome=outcome,
            header=header,
            path=path,
            provenance=provenance,
            transfer_syntax_uid=arrival.transfer_syntax_uid,
        )

    def tell(self, receipt: Receipt) -> None:
        """Tell the register of what was kept; what a crash keeps from being told is found in the spool."""
        instance = _received(receipt.header, receipt.transfer_syntax_uid, receipt.provenance, receipt.path)
        if receipt.outcome == "conflict":
            self._register.submit(InstanceConflict(instance=instance, difference="pixels"))
        elif receipt.outcome == "duplicate":
            self._tell_repeat(instance)
        else:
            self._register.submit(instance)

    def recover(self) -> int:
        """Bring to their places the instances that a power cut kept from there; return how many that were.

        To be called at the start, before the spool is compared with the catalogue.
        """
        recovered = 0
        for path in abandoned(self.store.inbox_dir):
            try:
                instance, header = _whole(path)
            except (IchorError, ValueError):
                continue  # a data set that never became whole; nobody was told that it was here
            with self._locks.held(header.sop_instance_uid):
                outcome, target = self._place(header, instance, partial(encoded_in, path))
                if outcome != "duplicate":
                    move_into(path, target)
                    recovered += 1
        return recovered

    def close(self) -> None:
        """Remove the files that wait for data sets, and give the locks back."""
        self._inbox.close()
        self._locks.close()

    def _place(self, header: Header, provenance: Provenance, data_set: Callable[[], Encoded]) -> tuple[Outcome, Path]:
        """Return where a data set belongs: beside the first of its UID, where both hold the same image."""
        path = self.store.spool_path(header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid)
        known = read_provenance(path)
        if known is None:
            return "stored", path
        if known.sha256 == provenance.sha256:
            return "duplicate", path
        aside = self.store.quarantine_path(f"{header.sop_instance_uid}.{provenance.sha256[:16]}.dcm")
        version = version_path(path, provenance.sha256)
        for one in (aside, version):
            if one.exists():
                return "duplicate", one
        return ("version", version) if same_image(encoded_in(path), data_set()) else ("conflict", aside)

    def _tell_repeat(self, instance: ReceivedInstance) -> None:
        """Say that known bytes came again, where later versions may have made them outdated."""
        if any(instance.path.parent.glob(f"{instance.sop_instance_uid}-*{instance.path.suffix}")):
            self._register.submit(
                Repeat(
                    sop_instance_uid=instance.sop_instance_uid,
                    sha256=instance.sha256,
                    calling_ae=instance.calling_ae,
                )
            )


def _header_of(incoming: InboxFile, transfer_syntax_uid: str) -> Header:
    if not incoming.size_bytes:
        return read_header(memoryview(b""), transfer_syntax_uid)
    with (
        mmap.mmap(incoming.descriptor, FILE_START_BYTES + incoming.size_bytes, access=mmap.ACCESS_READ) as file,
        memoryview(file) as content,
        content[FILE_START_BYTES:] as data,
    ):
        return read_header(data, transfer_syntax_uid)


def _whole(path: Path) -> tuple[Provenance, Header]:
    """Return what a file of an inbox says it is; raise BadHeader where its data set is not the one that it names."""
    content = memoryview(path.read_bytes())
    meta = read_file_meta(content)
    if meta.private_information is None:
        raise BadHeader("The file was not finished")
    provenance = Provenance.from_json(meta.private_information)
    data = content[meta.data_set_start :]
    if len(data) != provenance.size_bytes or hashlib.sha256(data).hexdigest() != provenance.sha256:
        raise BadHeader("The file was not finished")
    return provenance, read_header(data, meta.transfer_syntax_uid)


def version_path(first: Path, sha256: str) -> Path:
    """Return where a later version of a spooled instance lies; the hyphen keeps it apart from every UID."""
    return first.with_name(f"{first.stem}-{sha256[:16]}{first.suffix}")


def encoded_in(path: Path) -> Encoded:
    """Return the data set of a spooled file."""
    content = memoryview(path.read_bytes())
    meta = read_file_meta(content)
    return Encoded(data=content[meta.data_set_start :], transfer_syntax_uid=meta.transfer_syntax_uid)


def _encoded(incoming: InboxFile, arrival: Arrival) -> Encoded:
    content = os.pread(incoming.descriptor, incoming.size_bytes, FILE_START_BYTES)
    return Encoded(data=memoryview(content), transfer_syntax_uid=arrival.transfer_syntax_uid)


def read_provenance(path: Path) -> Provenance | None:
    """Return what a spooled file says about its receipt, None where there is no file."""
    try:
        with path.open("rb") as file:
            start = file.read(8192)
    except FileNotFoundError:
        return None
    return _provenance_of(read_file_meta(memoryview(start)))


def is_whole(path: Path, sha256: str) -> bool:
    """Say whether the data set that lies in a spooled file is, byte for byte, the one of this digest."""
    try:
        with path.open("rb") as file:
            meta = read_file_meta(memoryview(file.read(MAX_META_BYTES)))
            file.seek(meta.data_set_start)
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except (OSError, IchorError):
        return False


def read_spooled(path: Path) -> ReceivedInstance:
    """Read back from a spooled file what the catalogue is to know of it.

    Raises:
        NotDicom, BadHeader: the file is not one that a receiver wrote.
    """
    meta, header = _read_start(path)
    return _received(header, meta.transfer_syntax_uid, _provenance_of(meta), path)


def read_registration(path: Path) -> Registration:
    """Read from a spooled file whom it names; raises as `read_spooled`."""
    return _read_start(path)[1].registration


def _read_start(path: Path) -> tuple[FileMeta, Header]:
    with path.open("rb") as file:
        start = memoryview(file.read(MAX_META_BYTES + MAX_HEADER_BYTES))
    meta = read_file_meta(start)
    return meta, read_header(start[meta.data_set_start :], meta.transfer_syntax_uid, whole=False)


def _provenance_of(meta: FileMeta) -> Provenance:
    if meta.private_information is None:
        raise BadHeader("The file in the spool was not written by this node")
    return Provenance.from_json(meta.private_information)


def _received(header: Header, transfer_syntax_uid: str, provenance: Provenance, path: Path) -> ReceivedInstance:
    return ReceivedInstance(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        study_instance_uid=header.study_instance_uid,
        modality=header.modality,
        transfer_syntax_uid=transfer_syntax_uid,
        sha256=provenance.sha256,
        size_bytes=provenance.size_bytes,
        path=path,
        received_at=provenance.received_at,
        calling_ae=provenance.calling_ae,
        channel=provenance.channel,
        identity=header.identity,
        series_number=header.series_number,
        series_description=header.series_description,
        patient_id=header.patient_id,
        patient_name=header.patient_name,
        accession_number=header.accession_number,
        study_date=header.study_date,
        study_description=header.study_description,
    )
