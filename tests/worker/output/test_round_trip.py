"""Any geometry: a label drawn in patient coordinates comes back from the SEG on the frames it was drawn on."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise, permutations, product
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.spec import ModelSpec
from tests.worker.geometry.scans import Plane, Point, Scan
from tests.worker.output.cases import context, read
from worker.measure import measure
from worker.output.instance import to_bytes
from worker.output.seg import write_seg
from worker.series import read_studies
from worker.volume import Volume, read_volume

Vector = npt.NDArray[np.float64]
NO_MEMBERS = np.empty((0, 4))
CENTRE_LPS_MM = np.array([21.0, -34.0, 55.0])
AXES = [np.array(axis, dtype=float) for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]


def _point(values: Vector) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A stack about CENTRE_LPS_MM: signed axes, gantry tilt, gaps along the normal, pixel spacing, order of files."""

    order: tuple[int, int, int]
    signs: tuple[int, int, int]
    tilt_deg: float
    gaps_mm: tuple[float, ...]
    spacing_mm: tuple[float, float]
    seed: int

    @property
    def row(self) -> Vector:
        """Direction of the growing column index; the gantry tilts about it."""
        return np.asarray(AXES[self.order[0]] * self.signs[0])

    @property
    def table(self) -> Vector:
        """Direction in which the table moves."""
        return np.asarray(AXES[self.order[2]] * self.signs[2])

    @property
    def column(self) -> Vector:
        """Direction of the growing row index."""
        tilt = np.radians(self.tilt_deg)
        return np.asarray(AXES[self.order[1]] * self.signs[1] * np.cos(tilt) + self.table * np.sin(tilt))

    def plane(self, size: int) -> Plane:
        """Place the slices: sheared, as the table moves along itself and not along the tilted normal."""
        along_normal = np.concatenate([[0.0], np.cumsum(self.gaps_mm)])
        along_table = (along_normal - along_normal[-1] / 2) / np.cos(np.radians(self.tilt_deg))
        corner = CENTRE_LPS_MM - (size - 1) / 2 * (self.row * self.spacing_mm[1] + self.column * self.spacing_mm[0])
        return Plane(
            positions=tuple(_point(corner + step * self.table) for step in along_table),
            row=_point(self.row),
            column=_point(self.column),
            spacing=self.spacing_mm,
            size=(size, size),
        )


geometries = st.builds(
    Geometry,
    order=st.sampled_from(list(permutations(range(3)))),
    signs=st.sampled_from(list(product((1, -1), repeat=3))),
    tilt_deg=st.floats(-25.0, 25.0),
    gaps_mm=st.lists(st.floats(0.5, 10.0), min_size=7, max_size=24).map(tuple),
    spacing_mm=st.tuples(st.floats(0.3, 0.9), st.floats(0.3, 0.9)).map(lambda pair: tuple(np.round(pair, 4).tolist())),
    seed=st.integers(0, 1000),
)


def inside(points: Vector, semi_axes_mm: Vector) -> npt.NDArray[np.bool_]:
    """Say which patient positions lie in the ellipsoid; its axes are the patient's."""
    return np.asarray((((points - CENTRE_LPS_MM) / semi_axes_mm) ** 2).sum(axis=-1) <= 1.0)


def drawn_on_headers(paths: list[Path], semi_axes_mm: Vector) -> dict[str, npt.NDArray[np.bool_]]:
    """Draw by each file's own header, without the product's geometry."""
    drawn = {}
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        row, column = np.split(np.array(header.ImageOrientationPatient, dtype=float), 2)
        dy, dx = map(float, header.PixelSpacing)
        j, i = np.mgrid[: header.Rows, : header.Columns]
        points = np.array(header.ImagePositionPatient, dtype=float) + np.multiply.outer(i * dx, row)
        drawn[str(header.SOPInstanceUID)] = inside(points + np.multiply.outer(j * dy, column), semi_axes_mm)
    return drawn


def drawn_on_volume(volume: Volume, semi_axes_mm: Vector) -> npt.NDArray[np.uint8]:
    """Draw by the product's affine."""
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    j, i = np.mgrid[: volume.slices[0].rows, : volume.slices[0].columns]
    for k in range(len(labels)):
        origin = np.array(volume.lps_of(k, 0, 0))
        down = np.array(volume.lps_of(k, 1, 0)) - origin
        along = np.array(volume.lps_of(k, 0, 1)) - origin
        labels[k] = inside(origin + np.multiply.outer(j, down) + np.multiply.outer(i, along), semi_axes_mm)
    return labels


def shares_by_hand(gaps_mm: tuple[float, ...]) -> Vector:
    """Half of either gap; end slices twice half of their only one."""
    padded = [gaps_mm[0], *gaps_mm, gaps_mm[-1]]
    return np.array([(below + above) / 2 for below, above in pairwise(padded)])


def scan_of(geometry: Geometry, size: int) -> Scan:
    plane = geometry.plane(size)
    elements = {
        "PatientName": "Round^Trip", "PatientID": "1", "PatientBirthDate": "", "PatientSex": "",
        "StudyDate": "20260304", "StudyTime": "020000", "AccessionNumber": "", "StudyID": "", "Manufacturer": "Test",
        "ReferringPhysicianName": "", "FrameOfReferenceUID": "1.2.3.4", "PositionReferenceIndicator": "",
    }  # fmt: skip
    stored = np.full((len(plane.positions), size, size), 60, dtype=np.int16)
    return Scan(plane=plane, stored_kji=stored, elements=elements)


def round_trip(
    geometry: Geometry, semi_axes_mm: Vector, spec: ModelSpec, folder: Path, *, size: int
) -> tuple[float, float]:
    """Write, read, label, write the SEG, read it back and compare frames; give measured and sampled volume."""
    written = scan_of(geometry, size).write(folder / "ct")
    shuffled = random.Random(geometry.seed).sample(written, len(written))
    for number, path in enumerate(shuffled):
        path.rename(folder / f"{number:03}.dcm")
    paths = sorted(folder.glob("*.dcm"))
    (series,) = read_studies(paths)[0].series
    volume = read_volume(series)
    labels = drawn_on_volume(volume, semi_axes_mm)
    measurement = measure(volume, labels, spec, NO_MEMBERS)
    ctx = context(series, volume, labels, spec, measurement.findings)
    (folder / "seg").write_bytes(to_bytes(write_seg(ctx)))
    segmentation = highdicom.seg.Segmentation.from_dataset(read(folder / "seg"))
    expected = drawn_on_headers(paths, semi_axes_mm)
    pixels = segmentation.get_pixels_by_source_instance(list(expected), assert_missing_frames_are_empty=True)
    for number, (uid, mask) in enumerate(expected.items()):
        assert np.array_equal(pixels[number, ..., 0] > 0, mask), f"frame of {uid}"
    assert len(expected) == len(written)
    by_place = [expected[str(scan_of(geometry, size).dataset(k).SOPInstanceUID)] for k in range(len(written))]
    area_mm2 = geometry.spacing_mm[0] * geometry.spacing_mm[1]
    counted = np.array([mask.sum() for mask in by_place])
    sampled_ml = float((counted * shares_by_hand(geometry.gaps_mm)).sum() * area_mm2 / 1000.0)
    return measurement.total_haemorrhage_ml, sampled_ml


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometry=geometries, semi_axes_mm=st.tuples(*[st.floats(3.0, 12.0)] * 3))
def test_every_voxel_comes_back_on_its_frame(
    spec: ModelSpec, geometry: Geometry, semi_axes_mm: tuple[float, float, float]
) -> None:
    """Signs, permutations, tilt, uneven gaps, shuffled files: frames to the voxel, volume to 1 % of the sampled one."""
    semi = np.array(semi_axes_mm)
    middle = np.abs(np.cumsum((0.0, *geometry.gaps_mm)) - sum(geometry.gaps_mm) / 2).min()
    assume(middle < 0.8 * semi.min() * np.cos(np.radians(geometry.tilt_deg)))  # one slice at least cuts it
    with tempfile.TemporaryDirectory() as folder:
        measured_ml, sampled_ml = round_trip(geometry, semi, spec, Path(folder), size=64)
    assert measured_ml == pytest.approx(sampled_ml, rel=0.01)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    geometry=geometries,
    semi_axes_mm=st.tuples(*[st.floats(6.0, 12.0)] * 3),
    shares=st.lists(st.floats(0.3, 1.0), min_size=30, max_size=30),
)
def test_fine_gaps_give_the_true_volume(
    spec: ModelSpec, geometry: Geometry, semi_axes_mm: tuple[float, float, float], shares: list[float]
) -> None:
    """Where no gap exceeds a quarter of the lesion's half height, the analytic volume comes out to 2 %."""
    semi = np.empty(3)
    semi[list(geometry.order)] = semi_axes_mm
    tilt = np.radians(geometry.tilt_deg)
    # Half the ellipsoid's height between planes that lean: its support along the tilted normal.
    half_mm = float(np.hypot(semi_axes_mm[2] * np.cos(tilt), semi_axes_mm[1] * np.sin(tilt)))
    gaps_mm = half_mm / 4 * np.array(shares)
    enough = 1 + int(np.argmax(np.cumsum(gaps_mm) > 2.2 * half_mm))
    fine = replace(geometry, gaps_mm=tuple(gaps_mm[:enough].tolist()))
    widest_mm = float(np.linalg.norm(sorted(semi_axes_mm)[1:]))
    size = 2 * int(np.ceil(1.1 * widest_mm / min(fine.spacing_mm))) + 4
    with tempfile.TemporaryDirectory() as folder:
        measured_ml, _sampled_ml = round_trip(fine, semi, spec, Path(folder), size=size)
    assert measured_ml == pytest.approx(4 / 3 * np.pi * float(np.prod(semi)) / 1000.0, rel=0.02)
