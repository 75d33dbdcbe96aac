"""Windows cover every cell that the mask touches, once, on the lattice."""

from __future__ import annotations

import numpy as np
import pytest

from models.engines.windows import Window, bounding_window, fit_windows


def _ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    z, y, x = np.indices(shape)
    return np.asarray((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2)


@pytest.mark.parametrize("most_voxels", [15**3, 30**3, 60**3, 10**9])
def test_windows_cover_the_mask_once(most_voxels: int) -> None:
    """Two separate bodies are covered without overlap, within the size limit, from multiples of 15."""
    mask = _ball((100, 130, 90), (40, 50, 40), 28) | _ball((100, 130, 90), (90, 120, 80), 9)
    windows = fit_windows(mask, cell=15, halo=8, most_voxels=most_voxels)
    counted = np.zeros((105, 135, 90), dtype=int)
    for window in windows:
        counted[window.slices(counted.shape)] += 1
        assert window.voxels() <= most_voxels
        assert all(side % 15 == 0 for side in (*window.start, *window.stop))
    assert counted.max() == 1
    assert counted[:100, :130, :90][mask].min() == 1


def test_a_single_voxel_needs_one_cell() -> None:
    """The last voxel of an array is covered by a window that reaches past the array's end."""
    mask = np.zeros((31, 16, 15), dtype=bool)
    mask[30, 15, 14] = True
    windows = fit_windows(mask, cell=15, halo=8, most_voxels=60**3)
    assert windows == (Window(start=(30, 15, 0), stop=(45, 30, 15)),)
    assert windows[0].slices(mask.shape) == (slice(30, 31), slice(15, 16), slice(0, 15))


def test_an_empty_mask_needs_no_window() -> None:
    """Nothing to see, nothing to do."""
    assert fit_windows(np.zeros((20, 20, 20), dtype=bool), cell=15, halo=8, most_voxels=60**3) == ()


def test_the_bounding_window_holds_all() -> None:
    """The region that is padded once for all windows."""
    windows = (Window(start=(0, 15, 30), stop=(15, 30, 45)), Window(start=(15, 0, 30), stop=(45, 15, 60)))
    assert bounding_window(windows) == Window(start=(0, 0, 30), stop=(45, 30, 60))
    assert windows[1].shape == (30, 15, 30)
