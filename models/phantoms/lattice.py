"""The fine grid on which a head is worked out, and the head's own axes laid over it.

Arrays run z (to the head), y (to the back), x (to the left), as patient coordinates (LPS) increase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Point = tuple[float, float, float]
"""x, y, z in mm."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Nodes at equal distances in patient millimetres (LPS)."""

    first_zyx_mm: tuple[float, float, float]
    spacing_zyx_mm: tuple[float, float, float]
    shape_zyx: tuple[int, int, int]

    @classmethod
    def spanning(cls, low: Point, high: Point, spacing_zyx_mm: tuple[float, float, float]) -> Lattice:
        """Lay nodes from `low` (x, y, z) to `high` or just beyond."""
        first, last = low[::-1], high[::-1]
        counts = [math.ceil((b - a) / step - 1e-9) + 1 for a, b, step in zip(first, last, spacing_zyx_mm, strict=True)]
        return cls(
            first_zyx_mm=(first[0], first[1], first[2]),
            spacing_zyx_mm=spacing_zyx_mm,
            shape_zyx=(counts[0], counts[1], counts[2]),
        )

    @property
    def voxel_ml(self) -> float:
        """The volume that a node stands for."""
        return math.prod(self.spacing_zyx_mm) / 1000

    @property
    def softness_mm(self) -> float:
        """The length over which an edge passes from one tissue to the other: what the lattice can just show."""
        return max(self.spacing_zyx_mm)

    def axis_mm(self, axis: int) -> npt.NDArray[np.float64]:
        """Return the coordinates of the nodes along array axis 0 (z), 1 (y) or 2 (x)."""
        steps = np.arange(self.shape_zyx[axis], dtype=np.float64)
        return self.first_zyx_mm[axis] + self.spacing_zyx_mm[axis] * steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Places in the head's own mm: x to its left, y to its back, z to its vertex, 0 between the foramina of Monro."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    z: npt.NDArray[np.float32]

    @property
    def mirrored(self) -> Points:
        """The same places folded onto the left half, for structures that both halves have."""
        return Points(x=np.abs(self.x), y=self.y, z=self.z)

    def within(self, box: Box) -> Points:
        """Return the part inside `box`."""
        return Points(x=self.x[box], y=self.y[box], z=self.z[box])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How the head lies: the rotation's columns are the head's axes in patient coordinates."""

    rotation: npt.NDArray[np.float64]
    shift_lps_mm: Point

    @classmethod
    def turned(cls, *, yaw_deg: float, roll_deg: float, pitch_deg: float, shift_lps_mm: Point) -> Pose:
        """Turn about z (yaw), y (roll) and x (pitch)."""
        (sa, ca), (sb, cb), (sc, cc) = (
            (math.sin(math.radians(angle)), math.cos(math.radians(angle))) for angle in (yaw_deg, roll_deg, pitch_deg)
        )
        about_z = np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]])
        about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
        about_x = np.array([[1, 0, 0], [0, cc, -sc], [0, sc, cc]])
        return cls(rotation=about_z @ about_y @ about_x, shift_lps_mm=shift_lps_mm)


class HeadSpace:
    """A lattice seen in the head's own axes."""

    def __init__(self, lattice: Lattice, pose: Pose) -> None:
        self.lattice = lattice
        self._pose = pose
        z, y, x = (lattice.axis_mm(axis) - pose.shift_lps_mm[2 - axis] for axis in range(3))
        self.points = Points(
            x=_turned(pose.rotation[:, 0], x, y, z),
            y=_turned(pose.rotation[:, 1], x, y, z),
            z=_turned(pose.rotation[:, 2], x, y, z),
        )

    def box(self, low: Point, high: Point) -> Box:
        """Return the index box that covers the head-axes box from `low` to `high` (x, y, z); it may be empty."""
        corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1)
        lps = self._pose.rotation @ corners + np.array(self._pose.shift_lps_mm)[:, None]
        slices = []
        for axis in range(3):
            along = (lps[2 - axis] - self.lattice.first_zyx_mm[axis]) / self.lattice.spacing_zyx_mm[axis]
            start = max(0, math.floor(along.min()))
            slices.append(slice(start, max(start, math.ceil(along.max()) + 1)))
        return slices[0], slices[1], slices[2]


def _turned(
    direction: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    z: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    plane = (direction[1] * y[:, None] + direction[0] * x[None, :]).astype(np.float32)
    turned: npt.NDArray[np.float32] = (direction[2] * z).astype(np.float32)[:, None, None] + plane[None]
    return turned
