"""Shapes as signed distances in millimetres, negative inside, and what is made of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.phantoms.lattice import Point, Points


def ellipsoid(points: Points, centre: Point, semi_axes_mm: Point) -> npt.NDArray[np.float32]:
    """Return the distance to an ellipsoid with axes along the head's, to first order at its surface."""
    x, y, z = (
        (along - np.float32(middle)) / np.float32(semi)
        for along, middle, semi in zip((points.x, points.y, points.z), centre, semi_axes_mm, strict=True)
    )
    radius = np.sqrt(x * x + y * y + z * z)
    slope = np.sqrt(
        (x / np.float32(semi_axes_mm[0])) ** 2
        + (y / np.float32(semi_axes_mm[1])) ** 2
        + (z / np.float32(semi_axes_mm[2])) ** 2
    )
    distance: npt.NDArray[np.float32] = (radius - 1) * radius / np.maximum(slope, np.float32(1e-6))
    return np.maximum(distance, np.float32(-min(semi_axes_mm)))


def tube(points: Points, nodes: Sequence[tuple[float, float, float, float]]) -> npt.NDArray[np.float32]:
    """Return the distance to a tube along `nodes` of (x, y, z, radius), straight and conical between them."""
    nearest = np.full(points.x.shape, np.inf, dtype=np.float32)
    for start, end in pairwise(nodes):
        axis = np.array(end[:3], dtype=np.float32) - np.array(start[:3], dtype=np.float32)
        dx, dy, dz = (
            along - np.float32(origin) for along, origin in zip((points.x, points.y, points.z), start[:3], strict=True)
        )
        fraction = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / np.float32(axis @ axis), 0, 1)
        gap = np.sqrt((dx - fraction * axis[0]) ** 2 + (dy - fraction * axis[1]) ** 2 + (dz - fraction * axis[2]) ** 2)
        np.minimum(nearest, gap - (np.float32(start[3]) + fraction * np.float32(end[3] - start[3])), out=nearest)
    return nearest


def inside(distance_mm: npt.NDArray[np.float32], softness_mm: float) -> npt.NDArray[np.float32]:
    """Return the share of each node that lies inside: 1 deep inside, 0 outside, linear over `softness_mm`."""
    share = distance_mm * np.float32(-1 / softness_mm)
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def both(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], rounding_mm: float
) -> npt.NDArray[np.float32]:
    """Return the distance to what lies in both shapes, the edge between them rounded."""
    blend = np.clip((first - second) * np.float32(0.5 / rounding_mm) + np.float32(0.5), 0, 1)
    joined: npt.NDArray[np.float32] = second + blend * (first - second)
    joined += np.float32(rounding_mm) * blend * (1 - blend)
    return joined


def paint(
    canvas: npt.NDArray[np.float32], value: npt.NDArray[np.float32] | float, share: npt.NDArray[np.float32]
) -> None:
    """Lay `value` over `canvas` where `share` says, in place."""
    change = value - canvas if isinstance(value, np.ndarray) else np.float32(value) - canvas
    change *= share
    canvas += change
