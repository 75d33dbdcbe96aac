"""A series as one stack of HU slices with exact geometry.

Slices are sorted along the plane normal, which points from foot to head (or along the nearest positive patient axis).
Nothing is resampled here: every slice keeps its own position, so gantry tilt and uneven gaps stay as scanned. Series
that do not form a stack, are no HU or cannot be decoded are refused with NotAnalysable.
"""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worker.pixels import read_hu
from worker.stack import stack_slices

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from worker.reason import Reason
    from worker.series import Series
    from worker.slices import Cosine, PointMm, Slice

DECODING_THREADS = 4  # more gain nothing: decoders hold the interpreter lock for part of their work


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """HU on native slices; array order k (along the normal), j (row), i (column)."""

    hu_kji: npt.NDArray[np.int16]
    """Unclipped HU; padding and outside -1024."""
    slices: tuple[Slice, ...]
    row_cosine: Cosine
    column_cosine: Cosine
    normal: Cosine
    row_spacing_mm: float
    column_spacing_mm: float
    offsets_mm: npt.NDArray[np.float64]
    """(K,) position of each slice along the normal."""
    shares_mm: npt.NDArray[np.float64]
    """(K,) each slice's own share of the distance along the normal, never SliceThickness."""
    warnings: tuple[Reason, ...]

    def lps_of(self, k: int, j: float, i: float) -> PointMm:
        """Give the patient position of a (fractional) pixel of slice k."""
        point = (
            np.asarray(self.slices[k].position_lps_mm)
            + np.asarray(self.row_cosine) * (i * self.column_spacing_mm)
            + np.asarray(self.column_cosine) * (j * self.row_spacing_mm)
        )
        return float(point[0]), float(point[1]), float(point[2])

    def voxel_ml(self, k: int) -> float:
        """Give the volume that one pixel of slice k stands for."""
        return float(self.shares_mm[k]) * self.row_spacing_mm * self.column_spacing_mm / 1000.0


def read_volume(series: Series) -> Volume:
    """Decode a series into a volume; the order of its slices is of no matter.

    Raises NotAnalysable: no geometry, one slice, mixed geometry, no HU, pixel data that cannot be decoded.
    """
    stack = stack_slices(series.slices)
    first = stack.slices[0]
    hu_kji = np.empty((len(stack.slices), first.rows, first.columns), dtype=np.int16)
    by_path: dict[Path, list[tuple[int, Slice]]] = defaultdict(list)
    for k, one in enumerate(stack.slices):
        by_path[one.path].append((k, one))
    with ThreadPoolExecutor(max_workers=min(DECODING_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(lambda item: read_hu(item[0], item[1], hu_kji), by_path.items()):
            pass
    hu_kji.setflags(write=False)
    return Volume(
        hu_kji=hu_kji,
        slices=stack.slices,
        row_cosine=stack.row_cosine,
        column_cosine=stack.column_cosine,
        normal=stack.normal,
        row_spacing_mm=first.row_spacing_mm,
        column_spacing_mm=first.column_spacing_mm,
        offsets_mm=stack.offsets_mm,
        shares_mm=stack.shares_mm,
        warnings=stack.warnings,
    )
