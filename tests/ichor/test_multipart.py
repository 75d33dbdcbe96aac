"""The multipart reader against bodies in pieces of every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichor.multipart import BadMultipart, MultipartReader, PartData, PartEnd, PartStart, parse_media_type

BOUNDARY = "b0undary"
PARTS = st.lists(st.binary(max_size=60) | st.sampled_from([b"\r\n", b"\r\n--", b"\r\n--b0undar", b"--b0undary"]))


def body_of(parts: list[bytes], preamble: bytes = b"", epilogue: bytes = b"\r\n") -> bytes:
    """Return a multipart body."""
    pieces = [b"--b0undary\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts]
    return preamble + b"".join(pieces) + b"--b0undary--" + epilogue


def read(body: bytes, sizes: int) -> list[bytes]:
    """Feed a body in pieces of a size; return the parts."""
    reader = MultipartReader(BOUNDARY)
    parts: list[bytes] = []
    opened = 0
    for start in range(0, len(body), sizes):
        for piece in reader.feed(body[start : start + sizes]):
            if isinstance(piece, PartStart):
                assert piece.headers == {"content-type": "application/dicom"}
                parts.append(b"")
                opened += 1
            elif isinstance(piece, PartData):
                parts[-1] += piece.data
            else:
                assert isinstance(piece, PartEnd)
                opened -= 1
            assert opened in {0, 1}
    reader.close()
    return parts


@given(parts=PARTS, sizes=st.integers(1, 50))
def test_parts_come_out_whole(parts: list[bytes], sizes: int) -> None:
    """However a body is cut up, its parts come out byte for byte."""
    assert read(body_of(parts), sizes) == parts


def test_preamble_and_epilogue_are_left_out() -> None:
    """What stands before the first and after the last boundary is no part (RFC 2046 5.1.1)."""
    assert read(body_of([b"x"], preamble=b"hello\r\n", epilogue=b"\r\nbye"), 7) == [b"x"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        body_of([b"x" * 100])[:-30],
        body_of([b"x" * 100])[:-6],
        b"--b0undary and more\r\n\r\n",
        b"--b0undary\r\nno colon\r\n\r\nx\r\n--b0undary--",
        b"--b0undary\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_broken_bodies_are_refused(body: bytes) -> None:
    """A body that is not as its type says, or ends early, is refused."""
    with pytest.raises(BadMultipart):
        read(body, 1000)


@pytest.mark.parametrize("boundary", ["", "x" * 71, "ümlaut"])
def test_boundaries_that_cannot_be_are_refused(boundary: str) -> None:
    """A missing, too long or strange boundary is refused."""
    with pytest.raises(BadMultipart):
        MultipartReader(boundary)


def test_media_types_are_taken_apart() -> None:
    """Quoted and unquoted parameters are read; what is no media type has no name."""
    parsed = parse_media_type('Multipart/Related; type="application/dicom"; Boundary=abc')
    assert parsed.name == "multipart/related"
    assert parsed.parameters == {"type": "application/dicom", "boundary": "abc"}
    assert parse_media_type("").name == ""
    assert parse_media_type("text").name == ""
