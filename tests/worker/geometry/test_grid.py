"""The grid and back: any orientation, tilt and spacing, measured in patient millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.worker.geometry.scans import Floats, Plane, Point, axial, volume_of
from worker.grid import GridMapping, labels_on_slices, resample
from worker.series import read_studies
from worker.volume import Volume, read_volume

PLANES = [
    (row, column)
    for (a, b), (s, t) in product(permutations(range(3), 2), product((1, -1), repeat=2))
    for row, column in [(s * np.eye(3)[a], t * np.eye(3)[b])]
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A stack about the origin: directions, shear, gaps and the order in which its slices are given."""

    plane: Plane
    lesion: Point


def turned(vector: Floats, degrees: Floats) -> Floats:
    """Turn a vector about x, y and z in turn."""
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = [n for n in range(3) if n != axis]
        matrix = np.eye(3)
        matrix[a, a] = matrix[b, b] = np.cos(angle)
        matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
        vector = matrix @ vector
    return vector


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a scan: 24 signed orientations, up to 10 degrees oblique, sheared, uneven, shuffled."""
    row, column = draw(st.sampled_from(PLANES))
    oblique = np.array(draw(st.tuples(*[st.floats(-10, 10)] * 3)))
    row, column = turned(row, oblique), turned(column, oblique)
    tilt = np.radians(draw(st.floats(-25, 25)))
    # A gantry shear: slices step along the table, not along their normal.
    step = np.cross(row, column) + np.tan(tilt) * column
    gaps = draw(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0, 5.0]), min_size=24, max_size=40))
    offsets = np.concatenate([[0.0], np.cumsum(gaps)])
    offsets = offsets[offsets <= 70.0]
    offsets -= offsets[-1] / 2
    spacing = draw(st.tuples(st.floats(0.3, 0.9), st.floats(0.3, 0.9)))
    size = (int(50 / spacing[0]), int(50 / spacing[1]))
    corner = -(row * spacing[1] * (size[1] - 1) + column * spacing[0] * (size[0] - 1)) / 2
    order = draw(st.permutations(range(len(offsets))))
    plane = Plane(
        positions=tuple(point(corner + offsets[n] * step) for n in order),
        row=point(row),
        column=point(column),
        spacing=spacing,
        size=size,
    )
    lesion = draw(st.tuples(*[st.floats(-3, 3)] * 3))
    return Case(plane=plane, lesion=lesion)


def point(values: Floats) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


def grid_points(mapping: GridMapping) -> Floats:
    """Give the patient position of every grid point, (z, y, x, 3)."""
    origin = np.array(mapping.lps_of(0, 0, 0))
    steps = [np.array(mapping.lps_of(*unit)) - origin for unit in np.eye(3)]
    index_zyx = np.moveaxis(np.indices(mapping.grid.hu_zyx.shape), 0, -1)
    return np.asarray(origin + index_zyx @ np.array(steps))


def in_ball(points: Floats, centre: Point, radius_mm: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray(((points - np.array(centre)) ** 2).sum(axis=-1) < radius_mm**2)


def native_points(volume: Volume) -> Floats:
    plane = Plane(
        positions=tuple(one.position_lps_mm for one in volume.slices),
        row=volume.row_cosine,
        column=volume.column_cosine,
        spacing=(volume.row_spacing_mm, volume.column_spacing_mm),
        size=(volume.slices[0].rows, volume.slices[0].columns),
    )
    return np.stack([plane.points(k) for k in range(len(plane.positions))])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_grid_lies_where_it_says(case: Case) -> None:
    """HU that are linear in patient coordinates come out linear: shear, gaps and flips are undone exactly."""
    gradient = np.array([7.0, -5.0, 11.0])
    volume = volume_of(case.plane, lambda points: points @ gradient)
    mapping = resample(volume, (2.0, 2.0, 2.0))
    points = grid_points(mapping)
    along = points @ np.array(volume.normal)
    between = mapping.grid.scanned_zyx & (along > volume.offsets_mm[0]) & (along < volume.offsets_mm[-1])
    # Two slices that are sheared apart do not both reach the image border: look at what lies well inside.
    inside = between & (np.abs(points @ np.array(case.plane.row)) < 20)
    inside &= np.abs(points @ np.array(case.plane.column) - middle_of(volume, along)) < 15
    assert inside.sum() > 500
    assert np.abs(mapping.grid.hu_zyx - points @ gradient)[inside].max() < 1.0  # two roundings to whole HU


def middle_of(volume: Volume, along: Floats) -> Floats:
    """Give where the middle row of a sheared stack lies, at these offsets."""
    middle = [
        np.array(volume.lps_of(k, (one.rows - 1) / 2, 0)) @ volume.column_cosine for k, one in enumerate(volume.slices)
    ]
    return np.asarray(np.interp(along, volume.offsets_mm, middle))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_what_is_drawn_in_the_patient_comes_back(case: Case) -> None:
    """A ball drawn on the grid in patient millimetres lies on the slices where it would have been drawn there."""
    volume = volume_of(case.plane, lambda points: np.zeros(points.shape[:-1]))
    mapping = resample(volume, (1.0, 1.0, 1.0))
    assert_head_like(mapping)
    painted = in_ball(grid_points(mapping), case.lesion, 15.0)
    probabilities = np.stack([~painted, painted]).astype(np.float32)
    labels = labels_on_slices(mapping, volume, probabilities)
    drawn = in_ball(native_points(volume), case.lesion, 15.0)
    voxel_ml = np.array([volume.voxel_ml(k) for k in range(len(volume.slices))])[:, None, None]
    sampled_ml, volume_ml = float((drawn * voxel_ml).sum()), float((labels * voxel_ml).sum())
    assert volume_ml == pytest.approx(sampled_ml, rel=0.03)
    overlap = 2 * float(((labels == 1) & drawn).sum()) / float((labels == 1).sum() + drawn.sum())
    assert overlap > 0.95
    centre = (native_points(volume)[labels == 1]).mean(axis=0)
    assert np.linalg.norm(centre - native_points(volume)[drawn].mean(axis=0)) < 0.5


def assert_head_like(mapping: GridMapping) -> None:
    """Check that z, y and x grow towards head, back and the patient's left, as far as the planes allow."""
    origin = np.array(mapping.lps_of(0, 0, 0))
    for grid_axis, patient_axis in ((0, 2), (1, 1), (2, 0)):
        assert (np.array(mapping.lps_of(*np.eye(3)[grid_axis])) - origin)[patient_axis] > 0.7


def test_sampling_a_box_is_sampling_everywhere() -> None:
    """The shortcut round marked points gives what sampling every voxel gives, ties to the lower index included."""
    plane = axial((0.0, 2.0, 3.0, 7.0), spacing_mm=0.7, size=40)
    volume = volume_of(plane, lambda points: np.zeros(points.shape[:-1]))
    mapping = resample(volume, (1.0, 1.0, 1.0))
    random = np.random.default_rng(5)
    probabilities = random.dirichlet((2, 1, 1), size=mapping.grid.hu_zyx.shape).transpose(3, 0, 1, 2).astype(np.float32)
    probabilities[:, :, :9], probabilities[0, :, :9] = 0.0, 1.0
    labels = labels_on_slices(mapping, volume, probabilities)
    origin = np.array(mapping.lps_of(0, 0, 0))
    x, y, z = np.moveaxis(native_points(volume) - origin, -1, 0)
    expected = np.zeros(labels.shape, dtype=np.uint8)
    for index in np.ndindex(labels.shape):
        at = [split(value[index], n) for value, n in zip((z, y, x), probabilities.shape[1:], strict=True)]
        cube = probabilities[(slice(None), *(slice(low, low + 2) for low, _ in at))].astype(np.float64)
        for _, weight in at:
            cube = cube[:, 0] * (1 - weight) + cube[:, 1] * weight
        expected[index] = cube.argmax()
    assert (labels != expected).mean() < 1e-4  # a tie may fall by the last bit


def split(value: float, count: int) -> tuple[int, float]:
    clipped = min(max(value, 0.0), count - 1.0)
    low = min(int(clipped), count - 2)
    return low, clipped - low


def test_a_gantry_shear_is_undone(test_data_dir: Path) -> None:
    """The tilted GE head stands upright on the grid: its vertex lies over its middle, not 50 mm behind it."""
    (series,) = read_studies([test_data_dir / "ge-hispeed-tilt"])[0].series
    volume = read_volume(series)
    mapping = resample(volume, (1.0, 1.0, 1.0))
    assert mapping.grid.hu_zyx.shape == (150, 299, 250)
    assert mapping.native_of_zyx == (0, 1, 2)
    bone = mapping.grid.hu_zyx > 300
    middle = [np.nonzero(bone[z])[0].mean() for z in (80, 110, 140)]
    assert max(middle) - min(middle) < 25
    for z, y, x in ((10, 100, 60), (75, 150, 125), (140, 200, 200)):
        k = int(np.abs(volume.offsets_mm - np.array(mapping.lps_of(z, y, x)) @ volume.normal).argmin())
        place = np.array(mapping.lps_of(z, y, x)) - volume.lps_of(k, 0, 0)
        j, i = (
            place @ volume.column_cosine / volume.row_spacing_mm,
            place @ volume.row_cosine / volume.column_spacing_mm,
        )
        assert -1 < j < 512
        assert -1 < i < 512


def test_outside_the_scan_is_air() -> None:
    """Grid points that no slice reaches are -1024 HU and not scanned; those in an end slice's share are."""
    plane = Plane(positions=tuple((0.0, 4.0 * n, 5.0 * n) for n in range(4)), size=(10, 10))
    mapping = resample(volume_of(plane, lambda points: np.full(points.shape[:-1], 40.0)), (1.0, 1.0, 1.0))
    assert mapping.grid.hu_zyx.shape == (20, 22, 10)
    assert set(np.unique(mapping.grid.hu_zyx)) == {-1024.0, 40.0}
    assert np.array_equal(mapping.grid.scanned_zyx, mapping.grid.hu_zyx == 40.0)
    assert mapping.grid.scanned_zyx[0, :10].all()
    assert not mapping.grid.scanned_zyx[0, 15:].any()


def test_volumes_on_the_grid_by_hand() -> None:
    """Each label is counted where it wins, in points of 1 x 2 x 3 mm."""
    mapping = resample(volume_of(axial((0.0, 3.0, 6.0)), lambda points: np.zeros(points.shape[:-1])), (3.0, 2.0, 1.0))
    probabilities = np.zeros((3, *mapping.grid.hu_zyx.shape), dtype=np.float32)
    probabilities[0] = 0.4
    probabilities[1, 1, 4:8, 4:8] = 0.5
    probabilities[2, 1, 4:6, 4:6] = 0.6
    assert mapping.volumes_ml(probabilities) == pytest.approx([12 * 6 / 1000, 4 * 6 / 1000])
