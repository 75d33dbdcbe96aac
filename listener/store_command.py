"""The command sets of C-STORE, read and written directly (PS3.7 9.3.1): every slice brings one and gets one.

pynetdicom builds a pydicom data set for each, which costs more than the slice itself. What is out of the ordinary is
left to pynetdicom: `read_store_request` returns None for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LAST_COMMAND_FRAGMENT = 0x03  # PS3.8 E.2: message control header
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001  # PS3.7 Table E.1-1
NO_DATA_SET = 0x0101

_AFFECTED_SOP_CLASS_UID = 0x0002
_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
_COMMAND_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_ERROR_COMMENT = 0x0902
_AFFECTED_SOP_INSTANCE_UID = 0x1000
_MOVE_ORIGINATOR_AE_TITLE = 0x1030
_HEADER = struct.Struct("<HHI")  # PS3.7 6.3.1: Implicit VR Little Endian


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """What a C-STORE-RQ says that a data set follows; text as it came, without padding."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    move_originator: str
    """AE title of who asked the sender to send it here (PS3.7 9.1.1.1.10); empty where nobody did."""


def read_store_request(value: bytes) -> StoreRequest | None:
    """Read a presentation data value; None where it is not the whole command set of an ordinary C-STORE-RQ."""
    if not value or value[0] & LAST_COMMAND_FRAGMENT != LAST_COMMAND_FRAGMENT:
        return None
    elements = _elements(value)
    if elements is None or elements.get(_COMMAND_FIELD) != C_STORE_RQ.to_bytes(2, "little"):
        return None
    message_id = elements.get(_MESSAGE_ID, b"")
    data_set_type = elements.get(_COMMAND_DATA_SET_TYPE, b"")
    if len(message_id) != 2 or len(data_set_type) != 2 or data_set_type == NO_DATA_SET.to_bytes(2, "little"):
        return None
    sop_class_uid = elements.get(_AFFECTED_SOP_CLASS_UID, b"").rstrip(b"\0 ")
    sop_instance_uid = elements.get(_AFFECTED_SOP_INSTANCE_UID, b"").rstrip(b"\0 ")
    if not sop_class_uid or not sop_instance_uid or not (sop_class_uid + sop_instance_uid).isascii():
        return None
    return StoreRequest(
        message_id=int.from_bytes(message_id, "little"),
        sop_class_uid=sop_class_uid.decode(),
        sop_instance_uid=sop_instance_uid.decode(),
        move_originator=elements.get(_MOVE_ORIGINATOR_AE_TITLE, b"").decode("ascii", "replace").strip("\0 "),
    )


def encode_store_response(
    *, message_id: int, sop_class_uid: str, sop_instance_uid: str, status: int, comment: str = ""
) -> bytes:
    """Return the presentation data value of a C-STORE-RSP (PS3.7 Table 9.3-2)."""
    elements = b"".join(
        (
            _element(_AFFECTED_SOP_CLASS_UID, sop_class_uid.encode("ascii", "replace"), b"\0"),
            _element(_COMMAND_FIELD, C_STORE_RSP.to_bytes(2, "little")),
            _element(_MESSAGE_ID_BEING_RESPONDED_TO, message_id.to_bytes(2, "little")),
            _element(_COMMAND_DATA_SET_TYPE, NO_DATA_SET.to_bytes(2, "little")),
            _element(_STATUS, status.to_bytes(2, "little")),
            _element(_ERROR_COMMENT, comment.encode("ascii", "replace")) if comment else b"",
            _element(_AFFECTED_SOP_INSTANCE_UID, sop_instance_uid.encode("ascii", "replace"), b"\0"),
        )
    )
    length = _element(0x0000, len(elements).to_bytes(4, "little"))
    return bytes((LAST_COMMAND_FRAGMENT,)) + length + elements


def _elements(value: bytes) -> dict[int, bytes] | None:
    """Return the values of group 0000 by their element number, None where the encoding is damaged."""
    elements: dict[int, bytes] = {}
    position = 1
    while position + _HEADER.size <= len(value):
        group, element, length = _HEADER.unpack_from(value, position)
        position += _HEADER.size
        if group != 0x0000 or element in elements or position + length > len(value):
            return None
        elements[element] = value[position : position + length]
        position += length
    return elements if position == len(value) else None


def _element(element: int, value: bytes, padding: bytes = b" ") -> bytes:
    value += padding * (len(value) % 2)
    return _HEADER.pack(0x0000, element, len(value)) + value
