"""Series into volumes: order, shares, HU, and plain words where there is no volume."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from ichor.errors import GeometryError, NotAnalysable
from tests.worker.geometry.scans import Plane, Scan, axial
from worker.agreement import require_frame, require_same_place
from worker.series import read_studies
from worker.stack import stack_slices
from worker.volume import Volume, read_volume


def read(folder: Path) -> Volume:
    (series,) = read_studies([folder])[0].series
    return read_volume(series)


def numbered(offsets_mm: tuple[float, ...], **options: Any) -> Scan:
    """Slices whose values rise with k."""
    plane = axial(offsets_mm, size=8)
    stored = np.stack([np.full((8, 8), 10 * k, dtype=np.int16) for k in range(len(offsets_mm))])
    return Scan(plane=plane, stored_kji=stored, **options)


def test_shares_by_hand() -> None:
    """Inner slices take half of either gap; end slices mirror their only one."""
    stack = stack_slices(axial((0.0, 2.0, 6.0, 7.0)).slices())
    assert stack.shares_mm.tolist() == [2.0, 3.0, 2.5, 1.0]
    assert stack.offsets_mm.tolist() == [0.0, 2.0, 6.0, 7.0]


def test_shares_of_the_tilted_series_by_hand(test_data_dir: Path) -> None:
    """GE: 4.0 mm 13 times, 1.08 once, 7.0 13 times along the normal, not the 4.22 and 7.38 of the table."""
    volume = read(test_data_dir / "ge-hispeed-tilt")
    gaps = np.diff(volume.offsets_mm)
    assert gaps == pytest.approx([4.002] * 13 + [1.081] + [6.999] * 13, abs=0.001)
    assert volume.shares_mm[[0, 13, 14, 27]] == pytest.approx([4.002, 2.5415, 4.040, 6.999], abs=0.001)
    assert volume.normal == pytest.approx((0.0, 0.3173047, 0.9483237), abs=1e-6)
    assert volume.hu_kji.min() == -1024  # padding of -1500
    assert volume.voxel_ml(0) == pytest.approx(0.4882812**2 * 4.002 / 1000, rel=1e-4)


def test_numbers_do_not_depend_on_order(test_data_dir: Path) -> None:
    """In order, reversed or shuffled, the real series gives the same volume, bit for bit."""
    paths = sorted((test_data_dir / "ge-hispeed-tilt").glob("*.dcm"))
    volumes = []
    for order in (paths, paths[::-1], random.Random(1).sample(paths, len(paths))):
        (series,) = read_studies(order)[0].series
        volumes.append(read_volume(series))
    for other in volumes[1:]:
        assert np.array_equal(volumes[0].hu_kji, other.hu_kji)
        assert volumes[0].slices == other.slices
        assert np.array_equal(volumes[0].shares_mm, other.shares_mm)


def test_rescale_is_each_slice_s_own(tmp_path: Path) -> None:
    """Slope and intercept differ from slice to slice; fractions round to the nearest HU."""
    scan = numbered((0.0, 1.0, 2.0))
    for k, (slope, intercept) in enumerate([(1, -1024), (2, 0), (0.5, 0.75)]):
        dataset = scan.dataset(k)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    assert read(tmp_path).hu_kji[:, 0, 0].tolist() == [-1024, 20, 11]


def test_padding_becomes_air(tmp_path: Path) -> None:
    """The closed range between padding value and limit is padding; unsigned values keep their upper bits."""
    plane = axial((0.0, 1.0), size=2)
    stored = np.array([[[63536, 0], [10, 40000]]] * 2, dtype=np.uint16)
    scan = Scan(
        plane=plane,
        stored_kji=stored,
        intercept=-1000.0,
        elements={"PixelPaddingValue": 63536, "PixelPaddingRangeLimit": 63530},
    )
    scan.write(tmp_path)
    # 40000 - 1000 is beyond int16 and stays at its top instead of turning negative
    assert read(tmp_path).hu_kji[0].tolist() == [[-1024, -1000], [-990, 32767]]


def test_twelve_bit_signed_values_are_extended(tmp_path: Path) -> None:
    """A 12-bit two's complement value in 16 bits is negative, whatever stands in the unused bits."""
    stored = np.array([[[0x0FFF, 0x0800], [0x07FF, 0x0001]]] * 2, dtype=np.int16)
    elements = {"BitsStored": 12, "HighBit": 11}
    Scan(plane=axial((0.0, 1.0), size=2), stored_kji=stored, elements=elements).write(tmp_path)
    assert read(tmp_path).hu_kji[0].tolist() == [[-1, -1024], [2047, 1]]


def test_monochrome1_turns_the_display_only(tmp_path: Path) -> None:
    """HU are what rescale says, also where low values are shown white (PS3.3 C.7.6.3.1.2)."""
    numbered((0.0, 1.0), elements={"PhotometricInterpretation": "MONOCHROME1"}).write(tmp_path)
    assert read(tmp_path).hu_kji[:, 0, 0].tolist() == [0, 10]


@pytest.mark.parametrize(("column", "normal"), [((0.0, 1.0, 0.0), (0, 0, 1)), ((0.0, -1.0, 0.0), (0, 0, 1))])
def test_slices_rise_towards_the_head(column: tuple[float, float, float], normal: tuple[float, ...]) -> None:
    """The normal points from foot to head, whichever way rows and columns run."""
    positions = tuple((0.0, 0.0, z) for z in (10.0, 0.0, 5.0))
    stack = stack_slices(Plane(positions=positions, column=column).slices())
    assert list(stack.normal) == list(normal)
    assert stack.offsets_mm.tolist() == [0.0, 5.0, 10.0]


@pytest.mark.parametrize("offsets", [(0.0,), (3.0, 3.0, 3.0)])
def test_one_slice_is_no_volume(offsets: tuple[float, ...]) -> None:
    """A single slice, and several at one place, are refused in words."""
    with pytest.raises(NotAnalysable, match="only one slice") as refused:
        stack_slices(axial(offsets).slices())
    assert refused.value.code == "single_slice"


def test_doubled_positions_are_counted_once() -> None:
    """A stray copy of a slice adds no volume, and is told."""
    stack = stack_slices(axial((0.0, 1.0, 1.0, 2.0, 3.0, 4.0)).slices())
    assert stack.offsets_mm.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert stack.slices[1].sop_instance_uid == "1.2.3.1"
    assert [warning.code for warning in stack.warnings] == ["duplicate_slices"]


def test_an_embedded_scout_is_left_out() -> None:
    """A few slices of another plane do not spoil the series; many do."""
    scout = Plane(positions=((0.0, 0.0, 0.0),), row=(0.0, 1.0, 0.0), column=(0.0, 0.0, -1.0)).slices()
    stack = stack_slices((*axial(tuple(map(float, range(12)))).slices(), *scout))
    assert len(stack.slices) == 12
    assert [warning.code for warning in stack.warnings] == ["slices_left_out"]
    with pytest.raises(NotAnalysable, match="several orientations"):
        stack_slices((*axial((0.0, 1.0, 2.0)).slices(), *scout))


@pytest.mark.parametrize(
    ("offsets", "missing"),
    [
        ((0, 5, 10, 20, 25, 30), 1),
        ((0, 5, 10, 25, 30, 35), 2),
        ((0, 5, 10, 15, 20), 0),
        ((0, 2.5, 5, 7.5, 15, 22.5, 30), 0),  # a thicker upper half is a plan
        ((0, 4, 8, 12, 13, 20, 27, 34), 0),  # the GE series' pattern
    ],
)
def test_missing_slices_are_noticed(offsets: tuple[float, ...], missing: int) -> None:
    """A gap that is a multiple of its like neighbours is a loss; a change of thickness is not."""
    stack = stack_slices(axial(tuple(map(float, offsets))).slices())
    assert stack.missing == missing
    assert [warning.code for warning in stack.warnings] == (["missing_slices"] if missing else [])


def test_damaged_pixels_are_refused_in_words(tmp_path: Path) -> None:
    """A compressed frame that cannot be decoded ends as a reason, not as a crash."""
    for path in numbered((0.0, 1.0)).write(tmp_path):
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData[:40] + bytes(len(dataset.PixelData) - 40)
        dataset.save_as(path)
    with pytest.raises(NotAnalysable) as refused:
        read(tmp_path)
    assert refused.value.code == "undecodable"


def test_labels_must_lie_on_their_slices() -> None:
    """Labels of another shape, and frames moved or turned, are refused before anything is written."""
    plane = axial((0.0, 1.0, 2.0))
    stack = stack_slices(plane.slices())
    volume = Volume(
        hu_kji=np.zeros((3, 32, 32), dtype=np.int16),
        slices=stack.slices,
        row_cosine=plane.row,
        column_cosine=plane.column,
        normal=stack.normal,
        row_spacing_mm=1.0,
        column_spacing_mm=1.0,
        offsets_mm=stack.offsets_mm,
        shares_mm=stack.shares_mm,
        warnings=(),
    )
    require_same_place(volume, np.zeros((3, 32, 32), dtype=np.uint8))
    with pytest.raises(GeometryError):
        require_same_place(volume, np.zeros((3, 31, 32), dtype=np.uint8))
    good: dict[str, Any] = {
        "position_lps_mm": volume.slices[1].position_lps_mm,
        "orientation": (1, 0, 0, 0, 1, 0),
        "spacing_mm": (1.0, 1.0),
        "size": (32, 32),
    }
    require_frame(volume.slices[1], **good)
    for wrong in (
        {"position_lps_mm": (0.0, 0.0, 1.0)},
        {"orientation": (1, 0, 0, 0, -1, 0)},
        {"spacing_mm": (1.0, 2.0)},
        {"size": (32, 33)},
    ):
        with pytest.raises(GeometryError):
            require_frame(volume.slices[1], **{**good, **wrong})
