"""Do a result and its source lie in the same place? Asked before anything is written, and when it is read back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ichor.errors import GeometryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from worker.slices import Slice
    from worker.volume import Volume

PLACE_MM = 0.01
DIRECTION = 1e-4
SPACING_MM = 1e-4


def require_same_place(volume: Volume, labels_kji: npt.NDArray[np.uint8]) -> None:
    """Raise GeometryError unless there is one label frame per slice, of its size, in rising order along the normal."""
    if labels_kji.shape != (len(volume.slices), volume.slices[0].rows, volume.slices[0].columns):
        raise GeometryError(f"Labels {labels_kji.shape} do not have one frame of the right size for each slice.")
    places = np.array([one.position_lps_mm for one in volume.slices]) @ np.asarray(volume.normal)
    if np.abs(places - volume.offsets_mm).max() > PLACE_MM or (np.diff(places) <= 0).any():
        raise GeometryError("Slices are not in the order in which the volume was measured.")


def require_frame(
    source: Slice,
    *,
    position_lps_mm: Sequence[float],
    orientation: Sequence[float],
    spacing_mm: Sequence[float],
    size: tuple[int, int],
) -> None:
    """Raise GeometryError unless a written frame lies where its source slice does.

    Orientation is ImageOrientationPatient (row, then column cosines), spacing PixelSpacing (rows, then columns), size
    (rows, columns).
    """
    if size != (source.rows, source.columns):
        raise GeometryError(f"A frame of {size[0]} x {size[1]} was made for one of {source.rows} x {source.columns}.")
    distance = math.dist(position_lps_mm, source.position_lps_mm)
    if distance > PLACE_MM:
        raise GeometryError(f"A frame lies {distance:.3f} mm from its source slice.")
    turned = math.dist(orientation, (*source.row_cosine, *source.column_cosine))
    if turned > DIRECTION:
        raise GeometryError("A frame is turned against its source slice.")
    if math.dist(spacing_mm, (source.row_spacing_mm, source.column_spacing_mm)) > SPACING_MM:
        raise GeometryError("A frame and its source slice differ in pixel spacing.")
