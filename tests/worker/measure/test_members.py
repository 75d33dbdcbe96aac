"""How many members agree is counted at the voxels of each part, in the right place."""

from __future__ import annotations

import numpy as np

from models.segmenter import HeadGrid
from worker.grid import GridMapping
from worker.members import Members


def _members(labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Members:
    shape = labels.shape[1:]
    grid = HeadGrid(
        hu_zyx=np.zeros(shape, dtype=np.float32),
        spacing_zyx_mm=(5.0, 2.0, 1.0),
        scanned_zyx=np.ones(shape, dtype=np.bool_),
    )
    # native axes: the normal leads to the head, rows to the back, columns to the left, as the grid's do
    directions = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    mapping = GridMapping(
        grid=grid,
        native_of_zyx=(0, 1, 2),
        directions_lps=directions,
        first_mm=(100.0, -20.0, -10.0),
        spacing_mm=(5.0, 2.0, 1.0),
    )
    return Members(mapping=mapping, labels_mzyx=labels)


def test_members_agree_on_half_of_a_part() -> None:
    """All, half, less than half, another label: the first two agree."""
    labels = np.zeros((4, 4, 6, 8), dtype=np.uint8)
    labels[0, 2, 3, 2:6] = 1
    labels[1, 2, 3, 2:4] = 1
    labels[2, 2, 3, 2] = 1
    labels[3, 2, 3, 2:6] = 2
    # the part lies at z = 110, y = -14, x = -8 to -5
    points = np.array([[x, -14.0, 110.0] for x in (-8.0, -7.0, -6.0, -5.0)])
    members = _members(labels)
    assert members.agreeing(points, 1) == 2
    assert members.agreeing(points, 2) == 1
    assert members.agreeing(points + np.array([0.0, 2.0, 0.0]), 1) == 0
    assert members.agreeing(points + np.array([0.4, -0.9, 2.4]), 1) == 2
    assert members.agreeing(points + 1000.0, 1) == 0
