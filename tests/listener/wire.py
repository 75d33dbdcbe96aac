"""PDUs and command sets by hand (PS3.8 9.3, PS3.7 9.3), for peers that a library would not let us be."""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.listener.samples import encode

CONTEXT_ID = 1
RELEASE_RQ = bytes((5, 0, 0, 0, 0, 4, 0, 0, 0, 0))


def pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def item(kind: int, value: bytes) -> bytes:
    """Return an item of an A-ASSOCIATE PDU."""
    return struct.pack(">BBH", kind, 0, len(value)) + value


def associate_rq(
    *,
    sop_class_uid: str = CTImageStorage,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
    max_pdu_bytes: int = 16384,
) -> bytes:
    """Return an A-ASSOCIATE-RQ with one context."""
    syntaxes = item(0x30, sop_class_uid.encode()) + item(0x40, transfer_syntax_uid.encode())
    user = item(0x51, struct.pack(">I", max_pdu_bytes)) + item(0x52, b"1.2.3")
    body = struct.pack(">HH16s16s32x", 1, 0, b"ICHOR".ljust(16), b"RAW".ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, bytes((CONTEXT_ID, 0, 0, 0)) + syntaxes)
    return pdu(1, body + item(0x50, user))


def p_data(value: bytes, *, command: bool, last: bool) -> bytes:
    """Return a P-DATA-TF PDU with one fragment."""
    return pdu(4, struct.pack(">IBB", len(value) + 2, CONTEXT_ID, command | last << 1) + value)


def store_command(ds: Dataset) -> bytes:
    """Return the command set of a C-STORE request (PS3.7 9.3.1.1)."""
    command = Dataset()
    command.AffectedSOPClassUID = ds.SOPClassUID
    command.CommandField = 1
    command.MessageID = 1
    command.Priority = 0
    command.CommandDataSetType = 1
    command.AffectedSOPInstanceUID = ds.SOPInstanceUID
    encoded = encode(command, ImplicitVRLittleEndian)
    return struct.pack("<HHII", 0, 0, 4, len(encoded)) + encoded


def store(ds: Dataset, data: bytes, *, fragment_bytes: int = 4096) -> list[bytes]:
    """Return the PDUs of a C-STORE request with these bytes as its data set."""
    parts = [data[start : start + fragment_bytes] for start in range(0, len(data), fragment_bytes)] or [b""]
    pdus = [p_data(store_command(ds), command=True, last=True)]
    return pdus + [p_data(part, command=False, last=part is parts[-1]) for part in parts]
