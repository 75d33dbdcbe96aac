"""A streaming reader of multipart bodies (RFC 2046 5.1), fed in pieces of any size; it never holds a whole part.

Headers and the number of parts are bounded. What is no multipart body, or ends before its closing boundary, is
refused with `BadMultipart`.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING

from ichor.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_HEADER_BYTES = 16_384
MAX_BOUNDARY_CHARACTERS = 70  # RFC 2046 5.1.1
MAX_PARTS = 100_000


class BadMultipart(PermanentError):
    """The body is no multipart body as its Content-Type announces."""

    code = "bad_multipart"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """A Content-Type value: the type in lower case, and its parameters."""

    name: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStart:
    """A part begins; names of headers are in lower case."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartData:
    """A piece of the present part's body."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEnd:
    """The present part is whole."""


Piece = PartStart | PartData | PartEnd


def parse_media_type(value: str) -> MediaType:
    """Take a Content-Type value apart (RFC 2045 5.1); quoted parameters are unquoted."""
    message = Message()
    message["content-type"] = value
    parameters = message.get_params(failobj=[], header="content-type", unquote=True)
    return MediaType(
        name=message.get_content_type() if "/" in value else "",
        parameters={name.lower(): text for name, text in parameters[1:]},
    )


class MultipartReader:
    """Cut a body into parts, piece by piece."""

    def __init__(self, boundary: str) -> None:
        if not 0 < len(boundary) <= MAX_BOUNDARY_CHARACTERS or not boundary.isascii():
            raise BadMultipart("The boundary is missing or not usable")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # A body may begin with its first delimiter: the line break before it is added here.
        self._buffer = bytearray(b"\r\n")
        self._state = "preamble"
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what `data` completes."""
        self._buffer += data
        steps = {"preamble": self._preamble, "delimiter": self._after_delimiter, "headers": self._headers}
        while self._state != "epilogue":
            before = (self._state, len(self._buffer))
            if self._state == "body":
                yield from self._body()
            else:
                piece = steps[self._state]()
                if piece is not None:
                    yield piece
            if (self._state, len(self._buffer)) == before:
                return
        self._buffer.clear()

    def close(self) -> None:
        """Say that nothing more comes; `BadMultipart` where the closing boundary is missing."""
        if self._state != "epilogue":
            raise BadMultipart("The body ends before its closing boundary")

    def _preamble(self) -> None:
        found = self._buffer.find(self._delimiter)
        if found < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise BadMultipart("The body does not begin with its boundary")
            return
        del self._buffer[: found + len(self._delimiter)]
        self._state = "delimiter"

    def _after_delimiter(self) -> None:
        """Tell the closing boundary from one that opens a part; white space may follow either."""
        if self._buffer.startswith(b"--"):
            self._state = "epilogue"
            return
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise BadMultipart("A boundary line does not end")
            return
        if self._buffer[:end].strip(b" \t"):
            raise BadMultipart("Something follows a boundary on its line")
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadMultipart(f"The body has more than {MAX_PARTS} parts")
        del self._buffer[:end]
        self._state = "headers"

    def _headers(self) -> PartStart | None:
        # The buffer begins with the line break of the boundary's line, so that a part without headers ends them too.
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEADER_BYTES)
        if end < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise BadMultipart("The headers of a part are too long")
            return None
        headers: dict[str, str] = {}
        for line in bytes(self._buffer[:end]).split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if line and not colon:
                raise BadMultipart("A header of a part is not readable")
            if line:
                headers[name.decode("ascii", "replace").strip().lower()] = value.decode("latin-1").strip()
        del self._buffer[: end + 4]
        self._state = "body"
        return PartStart(headers=headers)

    def _body(self) -> Iterator[Piece]:
        found = self._buffer.find(self._delimiter)
        # What may be the beginning of a delimiter waits for the next piece.
        end = found if found >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        if end:
            yield PartData(data=bytes(self._buffer[:end]))
        if found >= 0:
            del self._buffer[: found + len(self._delimiter)]
            self._state = "delimiter"
            yield PartEnd()
        else:
            del self._buffer[:end]
