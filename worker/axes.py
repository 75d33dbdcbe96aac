"""Long and short axis of a region on one slice, and ABC/2.

Axes run over the convex hull of the region's pixel edge midpoints, so that a disc of n pixels measures n pixels. The
short axis is the longest chord at right angles to the long one. ABC/2 follows Kothari et al., Stroke 1996;27:1304.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull

from worker.findings import PixelJi

if TYPE_CHECKING:
    import numpy.typing as npt

FULL_SLICE = 0.75  # of the largest area: above, a slice counts 1 in C
HALF_SLICE = 0.25  # from here to FULL_SLICE it counts 1/2, below it does not count


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """Two axes of a region; end points as (row, column), 0 at the centre of the first pixel."""

    long_mm: float
    short_mm: float
    long_ji: tuple[PixelJi, PixelJi]
    short_ji: tuple[PixelJi, PixelJi]


def axes_of(
    j: npt.NDArray[np.intp], i: npt.NDArray[np.intp], *, row_spacing_mm: float, column_spacing_mm: float
) -> Axes:
    """Measure the region made of the pixels (j, i), at least one."""
    half = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    edges_ji = (np.stack([j, i], axis=1)[:, None, :] + half).reshape(-1, 2)
    step = np.array([row_spacing_mm, column_spacing_mm])
    hull_mm = _hull(edges_ji * step)
    apart = np.linalg.norm(hull_mm[:, None, :] - hull_mm[None, :, :], axis=2)
    # Rounded, so that equal diameters of a symmetric region do not compete by their last bit.
    first, second = np.unravel_index(int(np.round(apart, 6).argmax()), apart.shape)
    start, end = hull_mm[first], hull_mm[second]
    short_start, short_end = _longest_across(hull_mm, start, end)
    return Axes(
        long_mm=float(apart[first, second]),
        short_mm=float(np.linalg.norm(short_end - short_start)),
        long_ji=(_pixel(start / step), _pixel(end / step)),
        short_ji=(_pixel(short_start / step), _pixel(short_end / step)),
    )


def abc2_ml(
    areas: npt.NDArray[np.float64], shares_mm: npt.NDArray[np.float64], *, long_mm: float, short_mm: float
) -> float:
    """Give A x B x C / 2 in mL: C sums the slices' shares, weighted by their area against the largest."""
    relative = areas / areas.max()
    weight = np.where(relative > FULL_SLICE, 1.0, np.where(relative >= HALF_SLICE, 0.5, 0.0))
    return float(long_mm * short_mm * (weight * shares_mm).sum() / 2.0 / 1000.0)


def _hull(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the hull's corners in a fixed order: by row, then column."""
    corners = points[ConvexHull(points).vertices]
    ordered: npt.NDArray[np.float64] = corners[np.lexsort((corners[:, 1], corners[:, 0]))]
    return ordered


def _longest_across(
    hull: npt.NDArray[np.float64], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Find the longest chord of a convex polygon at right angles to the axis from start to end.

    The chord's length is concave and piecewise linear along the axis, so its largest value lies at a corner.
    """
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([-along[1], along[0]])
    u, v = (hull - start) @ along, (hull - start) @ across
    upper, lower = _border(u, v), _border(u, -v)
    at = np.unique(u)
    high, low = np.interp(at, *upper), -np.interp(at, *lower)
    best = int(np.round(high - low, 6).argmax())
    foot = start + at[best] * along
    return foot + low[best] * across, foot + high[best] * across


def _border(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Give the upper border of a convex polygon as rising u and its v (monotone chain)."""
    chain: list[tuple[float, float]] = []
    for point in sorted(zip(u.tolist(), v.tolist(), strict=True)):
        while len(chain) > 1 and _turns_left(chain[-2], chain[-1], point):
            chain.pop()
        if chain and point[0] == chain[-1][0]:
            chain.pop()
        chain.append(point)
    return [point[0] for point in chain], [point[1] for point in chain]


def _turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) >= 0


def _pixel(point: npt.NDArray[np.float64]) -> PixelJi:
    return float(point[0]), float(point[1])
