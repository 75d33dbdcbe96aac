"""An archive that is asked by QIDO-RS and fetched from by WADO-RS (PS3.18 10.6, 10.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import httpx

from ichor.errors import IchorError, NotDicom, PeerRejected, PeerUnreachable
from ichor.multipart import BadMultipart, MultipartReader, PartData, PartEnd, PartStart, parse_media_type
from ichor.peers.archive import Fetched, FoundStudy, Retrieval, Take, Wanted, study_time
from ichor.peers.dicomweb import COMES_AGAIN, DICOM_JSON, WebPeer, asked, client_of, shown

PAGE = 100
"""Studies in one answer; the next page is asked for as long as one is full."""
MAX_PART_BYTES = 1 << 30
DATA_SET_IN_ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""PS3.18 8.7.3.5.2: as the archive keeps it."""

STUDY_DATE, STUDY_TIME, MODALITIES_IN_STUDY = "00080020", "00080030", "00080061"
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = "0020000D", "0020000E"
STUDY_INSTANCES, SERIES_INSTANCES = "00201208", "00201209"


class WebArchive:
    """One archive, over DICOMweb."""

    def __init__(self, peer: WebPeer) -> None:
        self._peer = peer

    def studies(self, wanted: Wanted) -> Iterator[FoundStudy]:
        """Yield the studies that fit."""
        keys = {"includefield": f"{STUDY_INSTANCES},{MODALITIES_IN_STUDY}"}
        if wanted.study_instance_uid:
            keys["StudyInstanceUID"] = wanted.study_instance_uid
        if wanted.since is not None:
            keys["StudyDate"] = f"{wanted.since:%Y%m%d}-"
        if wanted.modality:
            keys["ModalitiesInStudy"] = wanted.modality
        for item in self._pages("studies", keys):
            study = FoundStudy(
                study_instance_uid=_text(item, STUDY_INSTANCE_UID),
                began_at=study_time(_text(item, STUDY_DATE), _text(item, STUDY_TIME)),
                modalities=frozenset(str(value) for value in _values(item, MODALITIES_IN_STUDY)),
                instances=_integer(item, STUDY_INSTANCES),
            )
            if study.study_instance_uid and wanted.fits(study):
                yield study

    def series_instances(self, study_instance_uid: str, series_instance_uid: str) -> int | None:
        """Return what the archive says of a series."""
        keys = {"SeriesInstanceUID": series_instance_uid, "includefield": SERIES_INSTANCES}
        for item in self._pages(f"studies/{study_instance_uid}/series", keys):
            if _text(item, SERIES_INSTANCE_UID) == series_instance_uid:
                return _integer(item, SERIES_INSTANCES)
        return None

    def retrieve(self, study_instance_uid: str, take: Take) -> Retrieval:
        """Fetch a study; one instance at a time is in memory."""
        completed = failed = 0
        headers = {"Accept": DATA_SET_IN_ANY_SYNTAX}
        try:
            with (
                client_of(self._peer) as client,
                client.stream("GET", f"studies/{study_instance_uid}", headers=headers) as answer,
            ):
                for part in self._parts(answer):
                    try:
                        take(_fetched(part))
                        completed += 1
                    except IchorError:
                        failed += 1
        except (httpx.TransportError, BadMultipart) as error:
            raise PeerUnreachable(f"{self._peer.name} broke off: {type(error).__name__}.") from error
        return Retrieval(completed=completed, failed=failed)

    def _parts(self, answer: httpx.Response) -> Iterator[bytearray]:
        if answer.status_code in COMES_AGAIN or answer.is_server_error:
            raise PeerUnreachable(f"{self._peer.name} cannot send the study now ({answer.status_code}).")
        if not answer.is_success:
            raise PeerRejected(f"{self._peer.name} does not send the study ({answer.status_code}).")
        media_type = parse_media_type(answer.headers.get("content-type", ""))
        reader = MultipartReader(media_type.parameters.get("boundary", ""))
        part = bytearray()
        for chunk in answer.iter_bytes():
            for piece in reader.feed(chunk):
                if isinstance(piece, PartStart):
                    part = bytearray()
                elif isinstance(piece, PartData):
                    part += piece.data
                    if len(part) > MAX_PART_BYTES:
                        raise PeerRejected(f"{self._peer.name} sends an instance of more than {MAX_PART_BYTES} bytes.")
                elif isinstance(piece, PartEnd):
                    yield part
        reader.close()

    def _pages(self, resource: str, keys: dict[str, str]) -> Iterator[dict[str, Any]]:
        with client_of(self._peer) as client:
            for page in range(1000):
                params = {**keys, "limit": str(PAGE), "offset": str(page * PAGE)}
                request = client.build_request("GET", resource, params=params, headers={"Accept": DICOM_JSON})
                items = shown(self._peer, asked(self._peer, request, client))
                yield from items
                if len(items) < PAGE:
                    return


def _fetched(part: bytearray) -> Fetched:
    """Take a DICOM file apart (PS3.10 7.1): its meta information begins with its own length."""
    content = memoryview(part)
    if bytes(content[128:132]) != b"DICM" or bytes(content[132:140]) != b"\x02\x00\x00\x00UL\x04\x00":
        raise NotDicom
    end = 144 + int.from_bytes(content[140:144], "little")
    if end > len(content):
        raise NotDicom
    values = dict(_meta(bytes(content[144:end])))
    return Fetched(
        sop_class_uid=values.get(0x0002, ""),
        sop_instance_uid=values.get(0x0003, ""),
        transfer_syntax_uid=values.get(0x0010, ""),
        data=content[end:],
    )


def _meta(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield the UIDs of file meta information by element number (PS3.10 7.1: Explicit VR Little Endian)."""
    position = 0
    while position + 8 <= len(data):
        _, element, vr, length = struct.unpack_from("<HH2sH", data, position)
        position += 8
        if vr in {b"OB", b"UN"}:
            (length,) = struct.unpack_from("<I", data, position) if position + 4 <= len(data) else (0,)
            position += 4
        if vr == b"UI":
            yield element, data[position : position + length].decode("ascii", "replace").rstrip("\0 ")
        position += length


def _values(item: dict[str, Any], tag: str) -> list[Any]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _text(item: dict[str, Any], tag: str) -> str:
    values = _values(item, tag)
    return str(values[0]) if values and values[0] is not None else ""


def _integer(item: dict[str, Any], tag: str) -> int | None:
    try:
        return int(_text(item, tag))
    except ValueError:
        return None
