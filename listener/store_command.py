"""The command sets of C-STORE and the P-DATA around them, read and written directly (PS3.7 9.3.1, PS3.8 9.3.5).

Every slice brings a command set and gets one. pynetdicom builds a pydicom data set for each, which costs more than the
slice itself. What is out of the ordinary is left to pynetdicom: the readers return None for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

COMMAND_FRAGMENT, LAST_FRAGMENT = 0x01, 0x02  # PS3.8 E.2: message control header
P_DATA_TF = 0x04
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
_VALUE_HEADER = struct.Struct(">IB")  # PS3.8 Table 9-23: length of what follows, presentation context
_PDU_HEADER = struct.Struct(">BxIIBB")  # PS3.8 Table 9-22, one value: type, length; its length, context, control header
_MOST_COMMAND_BYTES = 1 << 16
_LEAST_LIMIT_BYTES = 64
"""A peer that announces less gets these all the same: it cannot mean it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """What a C-STORE-RQ says that a data set follows; text as it came, without padding."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    move_originator: str
    """AE title of who asked the sender to send it here (PS3.7 9.1.1.1.10); empty where nobody did."""


def presentation_data_values(body: memoryview) -> list[tuple[int, memoryview]] | None:
    """Return what a P-DATA-TF PDU holds behind its header, as (context, control header and fragment).

    None where it is damaged or empty.
    """
    values = []
    position = 0
    while position < len(body):
        if position + _VALUE_HEADER.size >= len(body):
            return None
        length, context_id = _VALUE_HEADER.unpack_from(body, position)
        end = position + 4 + length
        if length < 2 or end > len(body):
            return None
        values.append((context_id, body[position + _VALUE_HEADER.size : end]))
        position = end
    return values or None


def p_data_pdus(context_id: int, command: bytes, *, limit_bytes: int) -> list[bytes]:
    """Return the P-DATA-TF PDUs of a command set, none longer than `limit_bytes` behind its header; 0 is no limit."""
    most = max(limit_bytes, _LEAST_LIMIT_BYTES) - 6 if limit_bytes else len(command)  # 6: the header of the value
    fragments = [command[start : start + most] for start in range(0, len(command), most)]
    last = len(fragments) - 1
    return [
        _PDU_HEADER.pack(
            P_DATA_TF,
            len(one) + 6,
            len(one) + 2,
            context_id,
            COMMAND_FRAGMENT | (LAST_FRAGMENT if number == last else 0),
        )
        + one
        for number, one in enumerate(fragments)
    ]


def read_store_request(value: memoryview) -> StoreRequest | None:
    """Read a control header and fragment; None where it is not the whole command set of an ordinary C-STORE-RQ."""
    whole = COMMAND_FRAGMENT | LAST_FRAGMENT
    if len(value) > _MOST_COMMAND_BYTES or not value or value[0] & whole != whole:
        return None
    elements = _elements(bytes(value))
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


def encode_store_response(request: StoreRequest, *, status: int, comment: str = "") -> bytes:
    """Return the command set of a C-STORE-RSP (PS3.7 Table 9.3-2)."""
    elements = b"".join(
        (
            _element(_AFFECTED_SOP_CLASS_UID, request.sop_class_uid.encode("ascii"), b"\0"),
            _element(_COMMAND_FIELD, C_STORE_RSP.to_bytes(2, "little")),
            _element(_MESSAGE_ID_BEING_RESPONDED_TO, request.message_id.to_bytes(2, "little")),
            _element(_COMMAND_DATA_SET_TYPE, NO_DATA_SET.to_bytes(2, "little")),
            _element(_STATUS, status.to_bytes(2, "little")),
            _element(_ERROR_COMMENT, comment.encode("ascii", "replace")) if comment else b"",
            _element(_AFFECTED_SOP_INSTANCE_UID, request.sop_instance_uid.encode("ascii"), b"\0"),
        )
    )
    return _element(0x0000, len(elements).to_bytes(4, "little")) + elements


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
