from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.spec import ModelSpec
from tests.worker.output.cases import Geometry, context, finding, paint_ball, read_case, write_series
from tests.worker.output.test_seg import SIGNS
from worker.output.context import WriteContext
from worker.output.key_slices import key_slices
from worker.output.render import SliceRenderer
from worker.output.sheet import BANNERS, draw_sheet, wrap

RED = (230, 60, 50)


def _coloured(picture: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find the pixels of a contour: saturated, where the slice is grey."""
    spread = picture.max(axis=-1).astype(int) - picture.min(axis=-1).astype(int)
    rows, columns = np.nonzero(spread > 60)
    return rows, columns


@pytest.mark.parametrize(("row", "column", "step"), SIGNS)
def test_left_is_left(
    row: tuple[float, float, float],
    column: tuple[float, float, float],
    step: tuple[float, float, float],
    spec: ModelSpec,
    tmp_path: Path,
) -> None:
    """A lesion on the patient's left and in front appears at the picture's upper right, for every sign."""
    _, volume = read_case(write_series(tmp_path, Geometry(row_cosine=row, column_cosine=column, step_lps_mm=step)))
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, labels, 1, (35.0, -40.0, 0.0), 15.0)
    k = finding(volume, labels, spec, "IPH").key_slice
    renderer = SliceRenderer(volume, labels, {1: RED}, size_px=240)
    rows, columns = _coloured(np.asarray(renderer.marked(k)))
    pixel_mm = renderer.field.side_mm / 240
    assert (columns.mean() - 119.5) * pixel_mm == pytest.approx(35.0, abs=3.0)
    assert (rows.mean() - 119.5) * pixel_mm == pytest.approx(-40.0, abs=3.0)
    assert _coloured(np.asarray(renderer.unmarked(k)))[0].size == 0
    assert renderer.view.left == "R"


def test_a_single_voxel_is_seen(straight: WriteContext) -> None:
    """The smallest region still gets a contour."""
    volume = straight.volume
    assert volume is not None
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    labels[5, 32, 40] = 1
    picture = np.asarray(SliceRenderer(volume, labels, {1: RED}, size_px=240).marked(5))
    assert _coloured(picture)[0].size >= 8


def test_the_sheet_is_1024_pixels_wide(tilted: WriteContext, unmarked: WriteContext, refused: WriteContext) -> None:
    """Sheets of every kind have the width that they are legible at, and a height that a viewer can show."""
    for ctx in (tilted, unmarked, refused):
        picture = draw_sheet(ctx)
        assert picture.dtype == np.uint8
        assert picture.shape[1:] == (1024, 3)
        assert 150 < picture.shape[0] < 1500
        assert picture.shape[0] % 2 == 0


def test_banners_tell_the_conclusions_apart(
    tilted: WriteContext, unmarked: WriteContext, refused: WriteContext
) -> None:
    """What was not analysed never looks like a negative: another banner, and no slices."""
    drawn = [tuple(draw_sheet(ctx)[2, 2]) for ctx in (tilted, unmarked, refused)]
    assert drawn == [BANNERS[key][0] for key in ("suspected", "none_marked", "not_analysed")]
    assert len(set(drawn)) == 3


def test_key_slices_show_every_finding_where_it_is_largest(tilted: WriteContext) -> None:
    """Each finding's largest area is among the shown slices, which are from three to eight, in order."""
    volume = tilted.volume
    assert volume is not None
    shown = key_slices(tilted.labels_kji, tilted.findings, len(volume.slices))
    assert {found.key_slice for found in tilted.findings} <= set(shown)
    assert 3 <= len(shown) <= 8
    assert list(shown) == sorted(set(shown))


def test_key_slices_of_a_single_marked_slice_include_its_neighbours(straight: WriteContext, spec: ModelSpec) -> None:
    """A region on the last slice alone is shown with those below it."""
    volume = straight.volume
    assert volume is not None
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    labels[9, 30:33, 30:33] = 1
    assert key_slices(labels, (finding(volume, labels, spec, "IPH"),), 10) == (6, 7, 8, 9)


def test_key_slices_without_a_finding_go_through_the_head() -> None:
    """Nothing marked: slices spread evenly, and a short series is shown whole."""
    assert key_slices(None, (), 28) == (3, 6, 9, 12, 15, 18, 21, 24)
    assert key_slices(None, (), 4) == (0, 1, 2, 3)


def test_a_text_is_broken_at_spaces() -> None:
    """No line is wider than asked for, and no word is lost."""
    lines = wrap("one two three four five six", 20, 120)
    assert len(lines) > 1
    assert " ".join(lines) == "one two three four five six"


def test_a_scan_of_air_is_still_drawn(tmp_path: Path, spec: ModelSpec) -> None:
    """A volume without a head gives a picture, not an error."""
    series, volume = read_case(write_series(tmp_path, Geometry(slices=4, spacing_mm=0.1)))
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    assert draw_sheet(context(series, volume, labels, spec, ())).shape[1] == 1024
