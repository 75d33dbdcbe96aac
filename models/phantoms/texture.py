"""Smooth random fields in patient millimetres, the same wherever and however finely they are sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.lattice import Lattice

_REACH_MM = 136.0
"""Beyond this distance from the origin along an axis the field goes on with its last value."""

_NODES_PER_LENGTH = 1.25


def smooth_field(lattice: Lattice, *, length_mm: float, key: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a Gaussian random field on the lattice: mean 0, variance 1, correlation exp(-r² / 2 length²)."""
    step_mm = length_mm / _NODES_PER_LENGTH
    count = int(np.ceil(2 * _REACH_MM / step_mm)) + 1
    white = np.random.default_rng(key).standard_normal((count, count, count), dtype=np.float32)
    # white noise under a Gaussian of sigma has a Gaussian correlation of length sigma * sqrt(2)
    nodes = ndimage.gaussian_filter(white, _NODES_PER_LENGTH / np.sqrt(2), mode="nearest", truncate=3.0)
    nodes /= nodes.std()
    field: npt.NDArray[np.float32] = nodes
    for axis in range(3):
        along = (lattice.axis_mm(axis) + _REACH_MM) / step_mm
        field = np.moveaxis(np.tensordot(_cubic_weights(along, count), field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def _cubic_weights(along: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float32]:
    """Return the Catmull-Rom weights (places, nodes) of every place, in node units."""
    place = np.clip(along, 1, count - 2 - 1e-6)
    base = np.floor(place).astype(int)
    t = place - base
    weights = np.zeros((len(along), count), dtype=np.float32)
    rows = np.arange(len(along))
    for shift, weight in (
        (-1, (-(t**3) + 2 * t**2 - t) / 2),
        (0, (3 * t**3 - 5 * t**2 + 2) / 2),
        (1, (-3 * t**3 + 4 * t**2 + t) / 2),
        (2, (t**3 - t**2) / 2),
    ):
        weights[rows, np.minimum(base + shift, count - 1)] += weight.astype(np.float32)
    return weights
