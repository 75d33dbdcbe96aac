"""DICOM files (PS3.10 7): the file meta information that the node writes before a received data set, and reads back.

A spooled file says everything about its own receipt: who sent it (0002,0016) to (0002,0018), and, as private
information (0002,0102), when it came, how, and the SHA-256 of the data set's bytes. The data set follows untouched.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from ichor import __version__
from ichor.errors import BadHeader, NotDicom
from listener.elements import EXPLICIT_LITTLE, ElementWalk

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
MAX_META_BYTES = 1 << 20
FILE_START_BYTES = 2048
"""What stands before the data set in a spooled file is filled up to this, so that it can be written last."""

IMPLEMENTATION_CLASS_UID = "2.25.203961730741294867513372081635920437118"
"""(0002,0012): this node, in every version."""
IMPLEMENTATION_VERSION_NAME = f"ICHOR_{__version__}"[:16]
PRIVATE_INFORMATION_CREATOR_UID = "2.25.118402337519604273316091275548806213907"
"""(0002,0100): the private information is the JSON that `Provenance` describes."""

_GROUP_LENGTH = 0x00020000
_MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
_MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003
_TRANSFER_SYNTAX_UID = 0x00020010
_SOURCE_AE_TITLE = 0x00020016
_RECEIVING_AE_TITLE = 0x00020018
_PRIVATE_INFORMATION_CREATOR_UID = 0x00020100
_PRIVATE_INFORMATION = 0x00020102


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMeta:
    """The file meta information of any DICOM file, and where its data set starts."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae: str
    data_set_start: int
    private_information: bytes | None
    """(0002,0102), where this node wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How an instance reached the node."""

    received_at: datetime
    sha256: str
    """Over the data set's bytes as received."""
    size_bytes: int
    calling_ae: str
    called_ae: str
    channel: str
    """`dimse` or `stow`."""

    def to_json(self) -> bytes:
        """Return the private information of a spooled file."""
        # Put together by hand: an encoder takes longer over this than the rest of the start of a file.
        return (
            f'{{"schema": 1, "received_at": "{self.received_at.isoformat()}", "sha256": "{self.sha256}", '
            f'"size_bytes": {self.size_bytes}, "calling_ae": {_quoted(self.calling_ae)}, '
            f'"called_ae": {_quoted(self.called_ae)}, "channel": {_quoted(self.channel)}}}'
        ).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Provenance:
        """Read what `to_json` wrote; `BadHeader` where it is something else."""
        try:
            values = json.loads(text.rstrip(b"\0 "))
            return cls(
                received_at=datetime.fromisoformat(values["received_at"]),
                sha256=str(values["sha256"]),
                size_bytes=int(values["size_bytes"]),
                calling_ae=str(values["calling_ae"]),
                called_ae=str(values["called_ae"]),
                channel=str(values["channel"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BadHeader("The private information of the file is not this node's") from error


@lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    return json.dumps(text)


def encode_file_start(
    *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, provenance: Provenance
) -> bytes:
    """Return what stands before the data set: preamble, prefix, file meta information (PS3.10 Table 7.1-1).

    Always `FILE_START_BYTES` long: spaces behind the JSON of the private information fill it up.
    """
    before, behind = _fixed_meta(sop_class_uid, transfer_syntax_uid, provenance.calling_ae, provenance.called_ae)
    fixed = before + _uid(_MEDIA_STORAGE_SOP_INSTANCE_UID, sop_instance_uid) + behind
    room = FILE_START_BYTES - PREAMBLE_BYTES - len(MAGIC) - 12 - len(fixed) - 12  # 12: the two element headers
    meta = fixed + _long(_PRIVATE_INFORMATION, b"OB", provenance.to_json().ljust(room))
    length = _short(_GROUP_LENGTH, b"UL", struct.pack("<I", len(meta)))
    return bytes(PREAMBLE_BYTES) + MAGIC + length + meta


@lru_cache(maxsize=64)
def _fixed_meta(sop_class_uid: str, transfer_syntax_uid: str, calling_ae: str, called_ae: str) -> tuple[bytes, bytes]:
    """Return the elements before and behind the instance's UID, which are the same for a whole association."""
    before = _long(0x00020001, b"OB", b"\x00\x01") + _uid(_MEDIA_STORAGE_SOP_CLASS_UID, sop_class_uid)
    behind = b"".join(
        (
            _uid(_TRANSFER_SYNTAX_UID, transfer_syntax_uid),
            _uid(0x00020012, IMPLEMENTATION_CLASS_UID),
            _short(0x00020013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
            _ae_title(_SOURCE_AE_TITLE, calling_ae),
            _ae_title(0x00020017, calling_ae),
            _ae_title(_RECEIVING_AE_TITLE, called_ae),
            _uid(_PRIVATE_INFORMATION_CREATOR_UID, PRIVATE_INFORMATION_CREATOR_UID),
        ),
    )
    return before, behind


def read_file_meta(data: memoryview) -> FileMeta:
    """Read the start of a DICOM file.

    Raises:
        NotDicom: the prefix is missing.
        BadHeader: the file meta information is damaged, too large, or does not say what the file holds.
    """
    start = PREAMBLE_BYTES + len(MAGIC)
    if bytes(data[PREAMBLE_BYTES:start]) != MAGIC:
        raise NotDicom("The file has no DICM prefix")
    meta = data[start : start + MAX_META_BYTES]
    length = _group_length(meta)
    values: dict[int, bytes] = {}
    for element in ElementWalk(meta[:length], EXPLICIT_LITTLE):
        values.setdefault(element.tag, bytes(meta[element.start : element.end]))
    ours = _text(values, _PRIVATE_INFORMATION_CREATOR_UID) == PRIVATE_INFORMATION_CREATOR_UID
    transfer_syntax_uid = _text(values, _TRANSFER_SYNTAX_UID)
    if not transfer_syntax_uid:
        raise BadHeader("(0002,0010) is missing from the file meta information")
    return FileMeta(
        sop_class_uid=_text(values, _MEDIA_STORAGE_SOP_CLASS_UID),
        sop_instance_uid=_text(values, _MEDIA_STORAGE_SOP_INSTANCE_UID),
        transfer_syntax_uid=transfer_syntax_uid,
        source_ae=_text(values, _SOURCE_AE_TITLE),
        data_set_start=start + length,
        private_information=values.get(_PRIVATE_INFORMATION) if ours else None,
    )


def _group_length(meta: memoryview) -> int:
    """Return the bytes that the file meta information takes, from its first element (PS3.10 7.1, type 1)."""
    if len(meta) < 12 or bytes(meta[:8]) != b"\x02\x00\x00\x00UL\x04\x00":
        raise BadHeader("The file meta information does not begin with its length")
    length = 12 + int.from_bytes(meta[8:12], "little")
    if length > len(meta):
        raise BadHeader("The file meta information is longer than the file or than is taken in")
    return length


def _text(values: dict[int, bytes], tag: int) -> str:
    return values.get(tag, b"").strip(b"\0 ").decode("ascii", "replace")


def _header(tag: int, vr: bytes) -> bytes:
    return struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)


def _short(tag: int, vr: bytes, value: bytes) -> bytes:
    padding = (b"\0" if vr == b"UI" else b" ") if len(value) % 2 else b""  # PS3.5 6.2
    value += padding
    return _header(tag, vr) + struct.pack("<H", len(value)) + value


def _long(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return _header(tag, vr) + struct.pack("<HI", 0, len(value)) + value


def _uid(tag: int, uid: str) -> bytes:
    return _short(tag, b"UI", uid.encode("ascii"))


def _ae_title(tag: int, ae_title: str) -> bytes:
    """Return the element, or nothing where no title is known: the elements are type 3."""
    value = ae_title.strip().encode("ascii", "replace")[:16]
    return _short(tag, b"AE", value) if value else b""
