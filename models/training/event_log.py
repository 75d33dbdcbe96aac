"""The curve of a training as TensorBoard reads it: scalars in an event file, written without TensorBoard.

The file is a row of records: length, its checksum, an `Event` message, its checksum
(tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto). Scalars need six fields of these messages,
which are encoded here: the package brings a web server and gRPC along, which a node has no use for. Each run writes a
file of its own; where it goes on from a checkpoint, a START message makes TensorBoard drop what an earlier file says of
later steps.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PREFIX = "events.out.tfevents"

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types of protocol buffers
_START = 1  # SessionLog.START
_CASTAGNOLI = 0x82F63B78


class EventLog:
    """An event file, open for more."""

    def __init__(self, folder: Path, *, after_step: int) -> None:
        self._file = (folder / f"{PREFIX}.{time.time_ns()}").open("xb")
        self._write(_field(3, _BYTES, b"brain.Event:2"), step=0)
        if after_step > 0:
            self._write(_field(7, _BYTES, _field(1, _VARINT, _START)), step=after_step + 1)

    def add(self, point: Mapping[str, Any]) -> None:
        """Append a point of the curve: its `step`, and every number in it under its name."""
        values = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, value))
            for tag, value in _scalars(point)
            if tag != "step"
        )
        self._write(_field(5, _BYTES, values), step=int(point["step"]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, what: bytes, *, step: int) -> None:
        event = _field(1, _DOUBLE, time.time()) + _field(2, _VARINT, step) + what
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))
        self._file.flush()


def _scalars(point: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in point.items():
        if isinstance(value, int | float):
            yield before + name, float(value)
        elif isinstance(value, dict):
            yield from _scalars(value, f"{before}{name}/")


def _field(number: int, kind: int, value: Any) -> bytes:
    """Encode one field of a message."""
    key = _varint(number << 3 | kind)
    if kind == _VARINT:
        return key + _varint(value)
    if kind == _BYTES:
        return key + _varint(len(value)) + bytes(value)
    return key + struct.pack("<d" if kind == _DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _checksum(content: bytes) -> bytes:
    """Return the masked CRC-32C (tensorflow/core/lib/hash/crc32c.h)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ _CASTAGNOLI & -(crc & 1)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
