"""Findings from labels: volumes, edges, densities and ranges worked by hand, and a lesion in a real head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import models
from ichor.errors import GeometryError
from models.spec import ModelSpec, load_spec
from tests.worker.geometry.scans import Floats, axial, head_hu, volume_of
from worker.density import density_warnings
from worker.findings import FindingPart
from worker.measure import measure
from worker.series import read_studies
from worker.volume import Volume, read_volume

NO_MEMBERS = np.empty((0, 4))
Labels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    """The default model's labels: IPH, EAH, oedema, IVH."""
    return load_spec(Path(str(models.__file__)).parent / "specs" / "blast-ct-v1.json")


def blank(offsets_mm: tuple[float, ...] = (0.0, 2.0, 6.0, 7.0, 8.0), hu: float = 40.0) -> tuple[Volume, Labels]:
    """Five uneven slices of 32 x 32 pixels of 0.5 mm, all of one density, and empty labels."""
    volume = volume_of(axial(offsets_mm, spacing_mm=0.5), lambda points: np.full(points.shape[:-1], hu))
    return volume, np.zeros(volume.hu_kji.shape, dtype=np.uint8)


def test_volume_by_slice_shares(spec: ModelSpec) -> None:
    """10 pixels on a slice that stands for 3 mm and 4 on one of 2.5 mm: (30 + 10) x 0.25 mm2."""
    volume, labels = blank()
    labels[1, 10, 10:20] = 1
    labels[2, 10, 10:14] = 1
    (finding,) = measure(volume, labels, spec, NO_MEMBERS).findings
    assert finding.volume_ml == pytest.approx(40 * 0.25 / 1000)
    assert finding.volume_range_ml == (finding.volume_ml, finding.volume_ml)
    assert (finding.label, finding.index, finding.haemorrhage) == ("IPH", 1, True)
    assert (finding.key_slice, finding.components, finding.touches_edge) == (1, 1, False)
    assert finding.long_axis_mm == pytest.approx(5.0)
    assert finding.laterality == "undetermined"  # no head to be seen
    low, high = finding.bounding_box_lps_mm
    corner = volume.slices[0].position_lps_mm
    assert low == pytest.approx((corner[0] + 10 * 0.5 - 0.25, corner[1] + 10 * 0.5 - 0.25, 2.0 - 1.5))
    assert high == pytest.approx((corner[0] + 19 * 0.5 + 0.25, corner[1] + 10 * 0.5 + 0.25, 6.0 + 1.25))
    assert finding.long_axis_lps_mm[0][2] == 2.0


def test_nothing_marked_is_no_finding(spec: ModelSpec) -> None:
    """Empty labels give no finding and no total; labels of another shape are refused."""
    volume, labels = blank()
    measurement = measure(volume, labels, spec, NO_MEMBERS)
    assert (measurement.findings, measurement.total_haemorrhage_ml, measurement.warnings) == ((), 0.0, ())
    with pytest.raises(GeometryError):
        measure(volume, labels[1:], spec, NO_MEMBERS)


def test_oedema_is_measured_and_not_in_the_total(spec: ModelSpec) -> None:
    """Only labels that the spec calls haemorrhage are summed; findings come in the spec's order."""
    volume, labels = blank()
    labels[1, 4:8, 4:8], labels[1, 12:16, 12:16], labels[2, 20:24, 20:24] = 4, 3, 1
    measurement = measure(volume, labels, spec, NO_MEMBERS)
    assert [finding.label for finding in measurement.findings] == ["IPH", "oedema", "IVH"]
    assert measurement.total_haemorrhage_ml == pytest.approx(16 * 0.25 * (2.5 + 3.0) / 1000)


@pytest.mark.parametrize(("k", "j", "i"), [(0, 9, 9), (4, 9, 9), (2, 0, 9), (2, 31, 9), (2, 9, 0), (2, 9, 31)])
def test_what_reaches_the_edge_is_cut(spec: ModelSpec, k: int, j: int, i: int) -> None:
    """A voxel in an end slice or on the image's border makes the volume a lower bound."""
    volume, labels = blank()
    labels[2, 9, 9] = labels[k, j, i] = 1
    assert measure(volume, labels, spec, NO_MEMBERS).findings[0].touches_edge


def test_abc2_only_for_one_iph(spec: ModelSpec) -> None:
    """A single parenchymal bleed has an ABC/2; two of them, and other labels, have none; a speck does not count."""
    offsets = tuple(5.0 * n for n in range(8))
    volume = volume_of(axial(offsets, spacing_mm=1.0, size=64), lambda points: np.full(points.shape[:-1], 65.0))
    j, i = np.mgrid[:64, :64]
    ball = np.stack([np.hypot(j - 20, i - 20) ** 2 + (z - 17.5) ** 2 < 12.0**2 for z in offsets])
    labels = ball.astype(np.uint8)
    (finding,) = measure(volume, labels, spec, NO_MEMBERS).findings
    # Slices at 2.5 mm from the middle count 1, those at 7.5 mm hold 64 % of their area and count 1/2: C is 15 mm.
    assert finding.abc2_ml == pytest.approx(23.7**2 * 15.0 / 2 / 1000, rel=0.06)
    labels[4, 50, 50] = 1  # 5 mm3
    assert measure(volume, labels, spec, NO_MEMBERS).findings[0].abc2_ml == finding.abc2_ml
    labels[3:5, 48:54, 48:54] = 1
    (double,) = measure(volume, labels, spec, NO_MEMBERS).findings
    assert (double.components, double.abc2_ml) == (2, None)
    assert measure(volume, labels * np.uint8(2), spec, NO_MEMBERS).findings[0].abc2_ml is None


def test_range_of_the_members(spec: ModelSpec) -> None:
    """Members are scaled by what slices and grid count differently, and the range holds the volume itself."""
    volume, labels = blank()
    labels[1, 10, 10:20] = 1  # 0.0075 mL
    members = np.array([[0.005, 0, 0, 0], [0.008, 0, 0, 0]])
    (plain,) = measure(volume, labels, spec, members).findings
    assert plain.volume_range_ml == pytest.approx((0.005, 0.008))
    on_grid = np.array([0.006, 0, 0, 0])
    (scaled,) = measure(volume, labels, spec, members, grid_volumes_ml=on_grid).findings
    assert scaled.volume_range_ml == pytest.approx((0.00625, 0.01))
    (outside,) = measure(volume, labels, spec, np.array([[0.002, 0, 0, 0]])).findings
    assert outside.volume_range_ml == pytest.approx((0.002, 0.0075))


def test_dense_findings_are_warned_of(spec: ModelSpec) -> None:
    """What is denser than clotted blood keeps its volume and gets a warning; blood gets none."""
    for hu, warned in ((65.0, []), (180.0, ["dense_finding"])):
        volume, labels = blank(hu=hu)
        labels[1:4, 8:20, 8:20] = 2
        measurement = measure(volume, labels, spec, NO_MEMBERS)
        assert [warning.code for warning in measurement.warnings] == warned
        assert measurement.findings[0].median_hu == hu
        assert measurement.findings[0].share_above_100_hu == float(bool(warned))


def ball(volume: Volume, centre: tuple[float, float, float], radius_mm: float) -> npt.NDArray[np.bool_]:
    """Draw a ball on native slices in patient millimetres."""
    j, i = np.mgrid[: volume.hu_kji.shape[1], : volume.hu_kji.shape[2]]
    in_plane = np.multiply.outer(j * volume.row_spacing_mm, np.array(volume.column_cosine)) + np.multiply.outer(
        i * volume.column_spacing_mm, np.array(volume.row_cosine)
    )
    return np.stack(
        [
            ((in_plane + one.position_lps_mm - np.array(centre)) ** 2).sum(axis=-1) < radius_mm**2
            for one in volume.slices
        ]
    )


def test_a_bleed_in_the_real_head(test_data_dir: Path, spec: ModelSpec) -> None:
    """GE: a 14.1 mL ball 34 mm to the left is measured there, through tilt and uneven slices, whole head covered."""
    (series,) = read_studies([test_data_dir / "ge-hispeed-tilt"])[0].series
    volume = read_volume(series)
    labels = ball(volume, (34.0, -1.0, 58.0), 15.0).astype(np.uint8)
    labels[ball(volume, (-50.0, 0.0, 58.0), 8.0)] = 2
    left, right = measure(volume, labels, spec, NO_MEMBERS).findings
    assert left.volume_ml == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.05)
    assert (left.laterality, right.laterality) == ("left", "right")
    assert left.centroid_lps_mm == pytest.approx((34.0, -1.0, 58.0), abs=1.0)
    assert left.long_axis_mm == pytest.approx(30.0, abs=2.0)
    measurement = measure(volume, labels, spec, NO_MEMBERS)
    assert measurement.coverage.whole_head
    assert measurement.total_haemorrhage_ml == pytest.approx(left.volume_ml + right.volume_ml)


@pytest.mark.parametrize(
    ("where", "centre"),
    [
        ("left choroid plexus", (27.1, 18.5, 36.5)),
        ("right choroid plexus", (-26.8, 30.9, 39.7)),
        ("pineal", (-2.7, 13.7, 30.7)),
    ],
)
def test_calcification_in_the_real_head_is_named(
    test_data_dir: Path, spec: ModelSpec, where: str, centre: tuple[float, float, float]
) -> None:
    """GE: what a model would mark round each calcification keeps its volume and gets the warning."""
    (series,) = read_studies([test_data_dir / "ge-hispeed-tilt"])[0].series
    volume = read_volume(series)
    labels = (ball(volume, centre, 6.0) & (volume.hu_kji > 60)).astype(np.uint8)
    measurement = measure(volume, labels, spec, NO_MEMBERS)
    assert measurement.total_haemorrhage_ml > 0, where
    (warning,) = measurement.warnings
    assert warning.code == "dense_finding"
    assert "calcification, contrast or metal possible" in warning.text


@pytest.mark.parametrize(("x", "side"), [(35.0, "left"), (-35.0, "right"), (0.0, "midline")])
def test_side_in_a_drawn_head(spec: ModelSpec, x: float, side: str) -> None:
    """A bleed drawn in the patient's left is left."""

    def hu(points: Floats) -> Floats:
        return head_hu(points, centre=(9.0, 0.0, 0.0))

    volume = volume_of(axial(tuple(np.arange(-85.0, 85.0, 5.0).tolist()), spacing_mm=2.0, size=128), hu)
    labels = ball(volume, (9.0 + x, 10.0, 0.0), 12.0).astype(np.uint8)
    assert measure(volume, labels, spec, NO_MEMBERS).findings[0].laterality == side


@pytest.mark.parametrize(
    ("centre", "hu", "skull_mm", "falx_mm", "place"),
    [
        ((35.0, 10.0, 0.0), 68.0, 20.0, 27.0, None),
        ((35.0, 10.0, 0.0), 200.0, 20.0, 27.0, "% of 2.1 mL measure above 100 HU"),
        ((0.0, 10.0, 20.0), 200.0, 42.0, 0.0, "at the falx"),
        ((58.0, 0.0, 0.0), 200.0, 2.0, 50.0, "at the skull"),
    ],
)
def test_parts_know_where_they_lie(
    spec: ModelSpec, centre: tuple[float, float, float], hu: float, skull_mm: float, falx_mm: float, place: str | None
) -> None:
    """Distance to skull and midline by hand, within a block; what is dense is said with its place."""

    def drawn(points: Floats) -> Floats:
        drawing = head_hu(points)
        near = np.linalg.norm(points - np.array(centre), axis=-1) < 8.0
        drawing[near & (drawing < 250.0)] = hu
        return drawing

    volume = volume_of(axial(tuple(np.arange(-85.0, 85.0, 2.5).tolist()), spacing_mm=2.0, size=128), drawn)
    labels = ball(volume, centre, 8.0).astype(np.uint8)
    measurement = measure(volume, labels, spec, NO_MEMBERS)
    (part,) = measurement.findings[0].parts
    assert part.volume_ml == pytest.approx(measurement.findings[0].volume_ml)
    assert part.skull_mm == pytest.approx(skull_mm, abs=6.0)
    assert part.falx_mm == pytest.approx(falx_mm, abs=3.0)
    texts = [warning.text for warning in measurement.warnings]
    assert (texts == []) is (place is None)
    if place is not None:
        assert place in texts[0]


def test_how_much_is_dense_is_said_not_how_much_was_marked() -> None:
    """A bleed along the skull takes in some bone: nobody is to read that all of it is calcium."""
    part = FindingPart(volume_ml=48.1, median_hu=55.0, share_above_100_hu=0.13, skull_mm=0.5, falx_mm=30.0)
    (warning,) = density_warnings("EAH", (part,))
    said = "EAH: 13 % of 48.1 mL, at the skull, measure above 100 HU; calcification, contrast or metal possible"
    assert warning.text == said
