from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice

from models.evaluation.surface import surface_figures
from tests.models.evaluation.masks import blob, box, grid_of

SHAPE = (14, 12, 9)


def test_shifted_cube_by_hand() -> None:
    """A cube moved by three voxels of 2 mm is 6 mm away."""
    answer, truth = box(SHAPE, (1, 4), (2, 6), (2, 6)), box(SHAPE, (4, 7), (2, 6), (2, 6))
    found = surface_figures(answer, truth, grid_of(SHAPE, (2.0, 1.0, 1.0)))
    assert found.hd_mm == pytest.approx(6.0)
    same = surface_figures(truth, truth, grid_of(SHAPE))
    assert (same.hd_mm, same.hd95_mm, same.nsd) == (0.0, 0.0, 1.0)


@pytest.mark.filterwarnings("ignore:monai.metrics:FutureWarning")
def test_equal_to_monai() -> None:
    """On an upright grid the figures are MONAI's."""
    spacing = (0.5, 0.7, 5.0)
    for seed in range(3):
        answer, truth = blob(seed), blob(seed + 50)
        ours = surface_figures(answer, truth, grid_of(SHAPE, spacing))
        said, true = (torch.from_numpy(mask)[None, None] for mask in (answer, truth))
        assert ours.hd_mm == pytest.approx(float(compute_hausdorff_distance(said, true, spacing=spacing)), abs=1e-6)
        hd95 = compute_hausdorff_distance(said, true, spacing=spacing, percentile=95)
        assert ours.hd95_mm == pytest.approx(float(hd95), abs=1e-6)
        nsd = compute_surface_dice(
            said, true, class_thresholds=[0.42], include_background=True, spacing=spacing, use_subvoxels=True
        )
        assert ours.nsd == pytest.approx(float(nsd), abs=1e-6)


def test_empty_masks() -> None:
    """A missed scan is infinitely far; a scan without blood has no distance."""
    nothing, something = np.zeros(SHAPE, dtype=bool), box(SHAPE, (1, 4), (2, 6), (2, 6))
    missed = surface_figures(nothing, something, grid_of(SHAPE))
    assert (missed.hd_mm, missed.hd95_mm, missed.nsd) == (math.inf, math.inf, 0.0)
    empty = surface_figures(nothing, nothing, grid_of(SHAPE))
    assert (empty.hd_mm, empty.hd95_mm, empty.nsd) == (None, None, None)


def test_tilted_grid_measures_true_distances() -> None:
    """Two voxels, one step apart in k, on a grid that moves 3 mm in j for 4 mm in k: 5 mm; areas are not tabled."""
    answer, truth = box(SHAPE, (2, 3), (2, 3), (2, 3)), box(SHAPE, (2, 3), (2, 3), (3, 4))
    tilted = grid_of(SHAPE, (1.0, 1.0, 4.0), shear=3.0)
    found = surface_figures(answer, truth, tilted)
    assert tilted.sheared
    assert tilted.voxel_ml == pytest.approx(0.004)
    assert found.hd_mm == pytest.approx(5.0)
    assert found.nsd is None
