"""What a peer's status means, in words for the study's page."""

from __future__ import annotations

# PS3.7 Annex C.5, PS3.4 Table B.2-1, PS3.18 Table I.2-2
_WORDS = {
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0117: "invalid object instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0xC122: "transfer syntax not supported",
}
_HL7 = {
    100: "segment sequence error",
    101: "required field missing",
    102: "data type error",
    103: "table value not found",
    200: "unsupported message type",
    201: "unsupported event code",
    202: "unsupported processing ID",
    203: "unsupported version ID",
    204: "unknown key identifier",
    205: "duplicate key identifier",
    206: "application record locked",
    207: "application internal error",
}
"""HL7 Table 0357; no DIMSE status lies between 0x0064 and 0x00CF."""
_RANGES = ((0xA700, "out of resources"), (0xA900, "data set does not match SOP class"))
NOT_OFFERED = frozenset({0x0122, 0xC122})
"""SOP class or transfer syntax not supported: said of a kind of object, not of this one."""
_CANNOT_UNDERSTAND = 0xC000
_HTTP = range(300, 512)
"""No DIMSE status and no failure reason lies between 0x012C and 0x01FF."""


def status_text(status: int | None) -> str:
    """Give a status as words and number: `SOP class not supported, 0x0122`, `HTTP 403`."""
    if status is None:
        return "no status"
    if status in _HTTP:
        return f"HTTP {status}"
    if status in _HL7:
        return f"HL7 {_HL7[status]}, {status}"
    words = _WORDS.get(status)
    if words is None:
        words = next((text for start, text in _RANGES if status & 0xFF00 == start), None)
    if words is None and status & 0xF000 == _CANNOT_UNDERSTAND:
        words = "cannot understand"
    return f"0x{status:04X}" if words is None else f"{words}, 0x{status:04X}"
