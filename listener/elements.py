"""The data elements of an encoded data set, walked by their lengths without decoding a value (PS3.5 7.1, 7.5).

Lengths are taken on trust only where they stay inside the data: anything that points past the end, nests too deep or
counts too high is refused, so that no sender can buy more than a bounded amount of memory and time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ichor.errors import BadHeader

if TYPE_CHECKING:
    from collections.abc import Iterator

# PS3.5 Table 7.1-1: these carry two reserved bytes and a 32-bit length; so would any VR that is still to be invented
# (PS3.5 7.1.2), which is why the short ones are listed and the rest is taken as long.
SHORT_VALUE_REPRESENTATIONS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(),
)
UNDEFINED_LENGTH = 0xFFFFFFFF
DELIMITER_GROUP = 0xFFFE
ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD

MAX_TOP_LEVEL_ELEMENTS = 10_000
"""A CT slice has about 150; ten thousand is no image but an attack or a fault."""
MAX_NESTED_ELEMENTS = 2_000_000
"""Enhanced CT describes every frame in nested sequences: some 100 elements for each of up to 10,000 frames."""
MAX_DEPTH = 64
MAX_TRAILING_ZEROS_BYTES = 65_536


class TruncatedDataSet(BadHeader):
    """The data set ends before the length that it announces."""

    code = "truncated"


class BeyondStart(BadHeader):
    """What the walk has to look at lies behind the start of the data set that is at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How element headers are encoded (PS3.5 A.1 to A.5)."""

    implicit: bool
    little: bool


IMPLICIT_LITTLE = Encoding(implicit=True, little=True)
EXPLICIT_LITTLE = Encoding(implicit=False, little=True)
EXPLICIT_BIG = Encoding(implicit=False, little=False)


class Element(NamedTuple):  # not a dataclass: every slice makes a hundred, and they cost a third
    """One top-level element: where its value starts and ends, in bytes from the start of the data set."""

    tag: int
    value_representation: bytes
    start: int
    end: int


class ElementWalk:
    """Walk the top-level elements of a data set, stepping over values and over whole sequences.

    Args:
        data: the data set, or its start.
        encoding: of its elements.
        size_bytes: of the whole data set, where `data` is only its start.
    """

    def __init__(self, data: memoryview, encoding: Encoding, *, size_bytes: int | None = None) -> None:
        self._data = data
        self._here = len(data)
        self._size = len(data) if size_bytes is None else size_bytes
        self._implicit = encoding.implicit
        order = "<" if encoding.little else ">"
        self._tag_and_length = struct.Struct(f"{order}HHI")
        self._explicit = struct.Struct(f"{order}HH2sH")
        self._long_length = struct.Struct(f"{order}I")
        self._nested = 0

    def __iter__(self) -> Iterator[Element]:
        """Yield every top-level element in file order.

        Raises:
            BadHeader: the encoding is damaged; `TruncatedDataSet` where it ends too early.
            BeyondStart: what comes next is not at hand.
        """
        data, here, explicit = self._data, self._here, None if self._implicit else self._explicit.unpack_from
        position = 0
        for _ in range(MAX_TOP_LEVEL_ELEMENTS):
            if position == self._size:
                return
            if position >= here:
                raise BeyondStart
            if position and data[position] == 0 and self._only_zeros_remain(position):
                return
            if explicit is not None and position + 8 <= here:  # what most elements are, without a call
                group, element, vr, length = explicit(data, position)
                if vr in SHORT_VALUE_REPRESENTATIONS and group != DELIMITER_GROUP:
                    start, position = position + 8, position + 8 + length
                    if position > self._size:
                        raise TruncatedDataSet
                    yield Element(group << 16 | element, vr, start, position)
                    continue
            tag, vr, length, start = self._header(position, implicit=self._implicit)
            if tag >> 16 == DELIMITER_GROUP:
                raise BadHeader("An item or delimiter stands where an element is expected")
            if length == UNDEFINED_LENGTH:
                position = self._after_undefined(start, implicit=self._implicit or vr == b"UN")
            else:
                position = start + length
                if position > self._size:
                    raise TruncatedDataSet
            yield Element(tag, vr, start, position)
        if position < self._size:
            raise BadHeader(f"The header has more than {MAX_TOP_LEVEL_ELEMENTS} elements")

    def _only_zeros_remain(self, position: int) -> bool:
        """Say whether only zeros follow: some writers pad a data set to the block size of a medium."""
        if self._size - position > MAX_TRAILING_ZEROS_BYTES:
            return False
        if self._here < self._size:
            raise BeyondStart
        return not bytes(self._data[position:]).strip(b"\0")

    def _header(self, position: int, *, implicit: bool) -> tuple[int, bytes, int, int]:
        """Return tag, VR, length and the position of the value."""
        if position + 8 > self._here:
            raise self._short_of_bytes()
        group, element, length = self._tag_and_length.unpack_from(self._data, position)
        tag = group << 16 | element
        if implicit or group == DELIMITER_GROUP:
            return tag, b"", length, position + 8
        _, _, vr, short_length = self._explicit.unpack_from(self._data, position)
        if vr in SHORT_VALUE_REPRESENTATIONS:
            return tag, vr, short_length, position + 8
        if not (vr.isalpha() and vr.isupper()):
            raise BadHeader("The data set is not encoded as its transfer syntax says")
        if position + 12 > self._here:
            raise self._short_of_bytes()
        return tag, vr, self._long_length.unpack_from(self._data, position + 8)[0], position + 12

    def _short_of_bytes(self) -> BadHeader:
        return TruncatedDataSet() if self._here == self._size else BeyondStart()

    def _after_undefined(self, position: int, *, implicit: bool) -> int:
        """Return the position behind a sequence or pixel data of undefined length (PS3.5 7.5.1, A.4)."""
        open_sequences = [implicit]
        in_item = False
        while True:
            self._nested += 1
            if self._nested > MAX_NESTED_ELEMENTS or len(open_sequences) > MAX_DEPTH:
                raise BadHeader("The sequences of the header nest too deep or hold too much")
            tag, vr, length, start = self._header(position, implicit=open_sequences[-1])
            position = start
            if in_item:
                if tag == ITEM_DELIMITER:
                    in_item = False
                elif length == UNDEFINED_LENGTH:
                    open_sequences.append(open_sequences[-1] or vr == b"UN")  # PS3.5 6.2.2 note 4: UN is implicit
                    in_item = False
                else:
                    position += length
            elif tag == SEQUENCE_DELIMITER:
                open_sequences.pop()
                if not open_sequences:
                    return position
                in_item = True
            elif tag == ITEM:
                in_item = length == UNDEFINED_LENGTH
                position += 0 if in_item else length
            else:
                raise BadHeader("A sequence holds something other than items")
            if position > self._size:
                raise TruncatedDataSet
