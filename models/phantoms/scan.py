"""The scan through a head: where every slice lies, and what it shows.

A tilted gantry is written as scanners write it: the planes lean about the x axis while the table moves along z, so that
the stack is sheared (DICOM PS3.3 C.8.2.1.1, Gantry/Detector Tilt; C.7.6.2.1.1, Image Plane).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from models.phantoms.adult import STREAM_NOISE
from models.phantoms.shift import USUAL
from models.phantoms.skull import AIR_HU

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.lattice import Lattice, Point
    from models.phantoms.plan import PhantomPlan

_VERTEX_MM = 84.0  # skin at the top of the head, roughly
_FRONT_MM, _BACK_MM = -85.0, 85.0  # where a leaning plane must have passed the head


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Where the slices lie, in patient coordinates (LPS), from foot to head whatever their numbering."""

    centre_z_mm: tuple[float, ...]  # of every plane, at x = y = 0
    gaps_mm: tuple[float, ...]  # along the normal, between neighbours
    row_cosine: Point  # direction of increasing column index
    column_cosine: Point  # direction of increasing row index
    normal: Point  # towards the head
    rows: int
    columns: int
    pixel_spacing_mm: float
    slice_thickness_mm: float

    @property
    def slices(self) -> int:
        """How many slices there are."""
        return len(self.centre_z_mm)

    @property
    def shares_mm(self) -> tuple[float, ...]:
        """Each slice's own share of the distance along the normal: half of either gap, mirrored at the ends."""
        if not self.gaps_mm:
            return (self.slice_thickness_mm,)
        padded = (self.gaps_mm[0], *self.gaps_mm, self.gaps_mm[-1])
        return tuple((below + above) / 2 for below, above in pairwise(padded))

    def position_lps_mm(self, k: int) -> Point:
        """Return ImagePositionPatient of slice k: the centre of its first voxel."""
        back_x = self.pixel_spacing_mm * (self.columns - 1) / 2
        back_y = self.pixel_spacing_mm * (self.rows - 1) / 2
        x, y, z = (
            -back_x * across - back_y * down for across, down in zip(self.row_cosine, self.column_cosine, strict=True)
        )
        return x, y, z + self.centre_z_mm[k]

    def places_lps_mm(self, k: int, j: npt.NDArray[np.intp], i: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Return the centres, (n, 3), of the voxels in rows j and columns i of slice k."""
        places: npt.NDArray[np.float64] = (
            np.array(self.position_lps_mm(k))
            + self.pixel_spacing_mm * i[:, None] * np.array(self.row_cosine)
            + self.pixel_spacing_mm * j[:, None] * np.array(self.column_cosine)
        )
        return places


def lay_slices(plan: PhantomPlan) -> Scan:
    """Work out where the plan's slices lie."""
    tilt = math.radians(plan.tilt_deg)
    sine, cosine = math.sin(tilt), math.cos(tilt)
    gaps = plan.gaps_mm or (plan.spacing_mm,) * (_slices(plan, sine, cosine) - 1)
    centres = plan.lowest_mm + np.concatenate([[0.0], np.cumsum(gaps)]) / cosine
    return Scan(
        centre_z_mm=tuple(float(z) for z in centres),
        gaps_mm=gaps,
        row_cosine=(float(plan.row_sign), 0.0, 0.0),
        column_cosine=(0.0, plan.column_sign * cosine, -plan.column_sign * sine),
        normal=(0.0, sine, cosine),
        rows=plan.rows,
        columns=plan.columns,
        pixel_spacing_mm=plan.pixel_spacing_mm,
        slice_thickness_mm=plan.slice_thickness_mm,
    )


def _slices(plan: PhantomPlan, sine: float, cosine: float) -> int:
    """Return how many slices reach from the lowest one over the vertex."""
    if plan.slices is not None:
        return plan.slices
    # the vertex lies near y = 0; a leaning plane is over it where its own centre is
    reach_mm = (_VERTEX_MM + 0.15 * (_BACK_MM - _FRONT_MM) * abs(sine) - plan.lowest_mm) * cosine
    return max(1, math.ceil(reach_mm / plan.spacing_mm) + 1)


class Sampler:
    """Reads a field on the lattice at the voxels of a scan, averaged over the slice thickness.

    Rows run along x, so that a row of voxels is a weighted sum of lattice lines, read at the columns' x.
    """

    def __init__(self, lattice: Lattice, scan: Scan) -> None:
        self._lattice = lattice
        self._scan = scan
        x = scan.row_cosine[0] * scan.pixel_spacing_mm * (np.arange(scan.columns) - (scan.columns - 1) / 2)
        self._across = _linear_weights(
            (x - lattice.first_zyx_mm[2]) / lattice.spacing_zyx_mm[2], lattice.shape_zyx[2]
        ).T.tocsr()

    def slice_of(self, field_zyx: npt.NDArray[np.float32], k: int, *, outside: float = 0.0) -> npt.NDArray[np.float32]:
        """Return slice k as (rows, columns); off the lattice the field counts as `outside`."""
        low, high = self.layers(k)
        block = field_zyx[low:high].reshape(-1, field_zyx.shape[2])
        lines = self._lines(k) @ (block - np.float32(outside) if outside else block)
        image: npt.NDArray[np.float32] = np.asarray((self._across.T @ lines.T).T, dtype=np.float32)
        return image + np.float32(outside) if outside else image

    def layers(self, k: int) -> tuple[int, int]:
        """Return the range of lattice layers, the last excluded, that slice k touches."""
        _, w = self._places(k)
        low = int(np.clip(np.floor(w.min()), 0, self._lattice.shape_zyx[0]))
        return low, int(np.clip(np.floor(w.max()) + 2, low, self._lattice.shape_zyx[0]))

    def _places(self, k: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the lattice coordinates y and z of every row of slice k, at every depth that is averaged."""
        scan, lattice = self._scan, self._lattice
        count = max(1, math.ceil(scan.slice_thickness_mm / lattice.spacing_zyx_mm[0]))
        depth = scan.slice_thickness_mm * ((np.arange(count) + 0.5) / count - 0.5)
        down = scan.pixel_spacing_mm * (np.arange(scan.rows) - (scan.rows - 1) / 2)[:, None]
        y = scan.column_cosine[1] * down + scan.normal[1] * depth
        z = scan.centre_z_mm[k] + scan.column_cosine[2] * down + scan.normal[2] * depth
        return (
            (y - lattice.first_zyx_mm[1]) / lattice.spacing_zyx_mm[1],
            (z - lattice.first_zyx_mm[0]) / lattice.spacing_zyx_mm[0],
        )

    def _lines(self, k: int) -> sparse.csr_array:
        """Return the weights (rows, layers * y lines) of the lattice's lines in the layers of slice k."""
        low, high = self.layers(k)
        v, w = self._places(k)
        lines_per_layer = self._lattice.shape_zyx[1]
        row = np.broadcast_to(np.arange(len(v))[:, None], v.shape)
        values, rows, columns = [], [], []
        for up in (0, 1):
            for down in (0, 1):
                layer, line = np.floor(w).astype(int) + up, np.floor(v).astype(int) + down
                weight = (1 - np.abs(w - layer)) * (1 - np.abs(v - line)) / v.shape[1]
                kept = (layer >= low) & (layer < high) & (line >= 0) & (line < lines_per_layer)
                values.append(weight[kept].astype(np.float32))
                rows.append(row[kept])
                columns.append((layer[kept] - low) * lines_per_layer + line[kept])
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_array(entries, shape=(len(v), (high - low) * lines_per_layer))


def _linear_weights(along: npt.NDArray[np.floating[Any]], count: int) -> sparse.csr_array:
    """Return the weights (places, nodes) of linear interpolation; places off the lattice get none."""
    base = np.floor(along).astype(int)
    rows = np.arange(len(along))
    values = np.concatenate([1 - (along - base), along - base]).astype(np.float32)
    places, nodes = np.concatenate([rows, rows]), np.concatenate([base, base + 1])
    kept = (nodes >= 0) & (nodes < count)
    return sparse.csr_array((values[kept], (places[kept], nodes[kept])), shape=(len(along), count))


def noise(
    scan: Scan,
    k: int,
    *,
    seed: int,
    standard_deviation_hu: float,
    cycles_per_mm: float = USUAL.kernel_cycles_per_mm,
) -> npt.NDArray[np.float32]:
    """Return slice k's noise, (rows, columns): weak in low frequencies and cut off as the kernel cuts it."""
    white = np.random.default_rng((seed, STREAM_NOISE, k)).standard_normal((scan.rows, scan.columns), dtype=np.float32)
    fy = np.fft.fftfreq(scan.rows, scan.pixel_spacing_mm)[:, None]
    fx = np.fft.rfftfreq(scan.columns, scan.pixel_spacing_mm)[None, :]
    frequency = np.sqrt(fx * fx + fy * fy)
    gain = (np.sqrt(frequency + 0.01) * np.exp(-((frequency / cycles_per_mm) ** 2))).astype(np.float32)
    shaped = np.fft.irfft2(np.fft.rfft2(white) * gain, s=white.shape)
    scaled: npt.NDArray[np.float32] = (shaped * (standard_deviation_hu / max(float(shaped.std()), 1e-6))).astype(
        np.float32
    )
    return scaled


def hu_slice(sampler: Sampler, hu_zyx: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.float32]:
    """Return slice k's HU without noise; off the lattice there is air."""
    return sampler.slice_of(hu_zyx, k, outside=AIR_HU)
