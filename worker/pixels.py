"""Stored pixel values into HU, one file at a time.

Rescale (PS3.3 C.11.1) per slice; padding (PS3.3 C.7.5.1.1.2) becomes air. MONOCHROME1 turns only the display, never
the HU (PS3.3 C.7.6.3.1.2), so nothing is inverted here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from ichor.errors import NotAnalysable
from worker.scarcity import is_scarcity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from worker.slices import Slice

AIR_HU = -1024
HIGHEST_HU = 32767

_PADDING_VALUE = 0x00280120
_PADDING_LIMIT = 0x00280121


def read_hu(path: Path, slices: Sequence[tuple[int, Slice]], into_kji: npt.NDArray[np.int16]) -> None:
    """Decode one file and write each of its slices to its place k in `into_kji`.

    Raises NotAnalysable where the pixel data cannot be decoded or are no HU. What the host lacks (memory, files) is
    raised as it came.
    """
    try:
        stored, header = _decode(path)
    except Exception as error:  # decoders of several libraries fail in their own ways on damaged data
        if is_scarcity(error):
            raise
        raise NotAnalysable("undecodable", "the pixel data of a slice cannot be decoded") from error
    padding = _padding_range(header)
    for k, one in slices:
        frame = stored if one.frame is None or stored.ndim == 2 else stored[one.frame]
        if frame.ndim != 2 or frame.shape != into_kji.shape[1:]:
            raise NotAnalysable("undecodable", "the pixel data of a slice do not have the size its header states")
        into_kji[k] = to_hu(frame, slope=one.rescale_slope, intercept=one.rescale_intercept, padding=padding)


def _decode(path: Path) -> tuple[npt.NDArray[Any], Dataset]:
    """Decode all frames of a file; give the stored values and a header that holds at least the padding."""
    if UID(read_file_meta_info(path).get("TransferSyntaxUID") or "").is_deflated:
        whole = pydicom.dcmread(path)  # pixel_array seeks in the file, which a deflated one does not allow
        return pixel_array(whole, raw=True), whole
    header = Dataset()
    return pixel_array(path, ds_out=header, specific_tags=[_PADDING_VALUE, _PADDING_LIMIT], raw=True), header


def to_hu(
    stored_ji: npt.NDArray[Any], *, slope: float, intercept: float, padding: tuple[int, int] | None
) -> npt.NDArray[np.int16]:
    """Rescale one frame; values in the closed padding range and below -1024 HU become -1024."""
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise NotAnalysable("no_hounsfield", "the stored values cannot be turned into Hounsfield units")
    if slope == 1.0 and intercept == round(intercept):
        wide = stored_ji.astype(np.int32)
        wide += int(intercept)
    else:
        wide = np.rint(stored_ji.astype(np.float32) * np.float32(slope) + np.float32(intercept)).astype(np.int32)
    if padding is not None:
        wide[(stored_ji >= padding[0]) & (stored_ji <= padding[1])] = AIR_HU
    np.clip(wide, AIR_HU, HIGHEST_HU, out=wide)
    return wide.astype(np.int16)


def _padding_range(header: Mapping[Any, Any] | Dataset) -> tuple[int, int] | None:
    """Give the closed range of stored values that are padding, either end first (PS3.3 C.7.5.1.1.2)."""
    value = header.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = header.get("PixelPaddingRangeLimit")
    other = limit if isinstance(limit, int) else value
    return min(value, other), max(value, other)
