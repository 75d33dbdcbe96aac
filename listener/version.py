"""Whether two data sets under one SOP Instance UID hold the same image, whatever they say about patient and order.

Equal pixels prove that both are of one acquisition: the later one then corrects how it was registered. Encodings that
cannot be compared as bytes are decoded, within a bound; what cannot be decoded counts as different.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import structlog
from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from listener.elements import ElementWalk
from listener.header import DEFLATED, encoding_of

if TYPE_CHECKING:
    import numpy.typing as npt

log = structlog.get_logger(__name__)

MAX_DECODED_BYTES = 256 << 20
"""An Enhanced CT of 500 frames; beyond it, two compressed forms of one image are not recognised as such."""

# PS3.3 C.7.6.3: what the bytes of the pixels mean.
_SHAPE = frozenset(
    (
        0x00280002,
        0x00280004,
        0x00280006,
        0x00280008,
        0x00280010,
        0x00280011,
        0x00280100,
        0x00280101,
        0x00280102,
        0x00280103,
    )
)
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_NATIVE_LITTLE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"))
_UNDECODABLE = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
    BytesLengthException,
)
"""What pydicom and its decoders raise on pixels that they cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A data set as it was received."""

    data: memoryview
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    shape: tuple[tuple[int, bytes], ...]
    pixels: tuple[memoryview, ...]


def same_image(one: Encoded, other: Encoded) -> bool:
    """Say whether both hold the same pixels, or both hold none (reports: nothing of them is ever measured).

    Raises:
        BadHeader: one of them is damaged.
    """
    first, second = _plain(one), _plain(other)
    mine, its = _picture(first), _picture(second)
    if not mine.pixels or not its.pixels:
        return not mine.pixels and not its.pixels
    syntaxes = {first.transfer_syntax_uid, second.transfer_syntax_uid}
    native = syntaxes <= _NATIVE_LITTLE
    if (native or len(syntaxes) == 1) and mine.shape == its.shape and mine.pixels == its.pixels:
        return True
    if native:
        return False
    decoded, its_decoded = _decoded(first), _decoded(second)
    return decoded is not None and its_decoded is not None and np.array_equal(decoded, its_decoded)


def _plain(encoded: Encoded) -> Encoded:
    """Inflate a deflated data set (PS3.5 A.5), up to the bound; what is cut there has no pixels to compare."""
    if encoded.transfer_syntax_uid not in DEFLATED:
        return encoded
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded.data, MAX_DECODED_BYTES)
    return Encoded(data=memoryview(inflated), transfer_syntax_uid=str(ExplicitVRLittleEndian))


def _picture(encoded: Encoded) -> _Picture:
    shape: list[tuple[int, bytes]] = []
    pixels: list[memoryview] = []
    for element in ElementWalk(encoded.data, encoding_of(encoded.transfer_syntax_uid)):
        if element.tag in _SHAPE:
            shape.append((element.tag, bytes(encoded.data[element.start : element.end]).strip(b" \0")))
        elif element.tag in _PIXELS:
            pixels.append(encoded.data[element.start : element.end])
    return _Picture(shape=tuple(shape), pixels=tuple(pixels))


def _decoded(encoded: Encoded) -> npt.NDArray[np.generic] | None:
    syntax = UID(encoded.transfer_syntax_uid)
    try:
        ds = read_dataset(BytesIO(encoded.data), syntax.is_implicit_VR, syntax.is_little_endian)
        ds.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = syntax
        frames, samples = int(ds.get("NumberOfFrames") or 1), int(ds.get("SamplesPerPixel") or 1)
        if int(ds.Rows) * int(ds.Columns) * frames * samples * int(ds.BitsAllocated) // 8 > MAX_DECODED_BYTES:
            return None
        return np.asarray(ds.pixel_array)
    except _UNDECODABLE as error:
        log.info("pixels_not_compared", error=type(error).__name__)
        return None
