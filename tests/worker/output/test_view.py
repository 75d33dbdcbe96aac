from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from worker.output.view import view_of
from worker.slices import Cosine

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def _signed(axis: str, sign: int) -> Cosine:
    x, y, z = (sign * part for part in AXES[axis])
    return x, y, z


@pytest.mark.parametrize("sign_columns", [1, -1])
@pytest.mark.parametrize("sign_rows", [1, -1])
@pytest.mark.parametrize("axes", ["xy", "yx"])
def test_axial_slices_are_seen_from_the_feet(axes: str, sign_columns: int, sign_rows: int) -> None:
    """The patient's left is on the image's right and the front is up, for every sign of every direction cosine."""
    row_cosine, column_cosine = _signed(axes[0], sign_columns), _signed(axes[1], sign_rows)
    view = view_of(row_cosine, column_cosine)
    assert (view.left, view.right, view.top, view.bottom) == ("R", "L", "A", "P")
    j, i = np.mgrid[0:5, 0:7]
    x = i * row_cosine[0] + j * column_cosine[0]
    y = i * row_cosine[1] + j * column_cosine[1]
    assert (np.diff(view.turn(x), axis=1) == 1).all()
    assert (np.diff(view.turn(y), axis=0) == 1).all()


@pytest.mark.parametrize("sign_columns", [1, -1])
@pytest.mark.parametrize("sign_rows", [1, -1])
@pytest.mark.parametrize("axes", [pair for pair in permutations("xyz", 2) if "z" in pair])
def test_other_planes_have_the_head_up(axes: tuple[str, str], sign_columns: int, sign_rows: int) -> None:
    """Coronal slices are seen from the front; sagittal ones have the front on the left."""
    view = view_of(_signed(axes[0], sign_columns), _signed(axes[1], sign_rows))
    across = ("R", "L") if "x" in axes else ("A", "P")
    assert (view.left, view.right, view.top, view.bottom) == (*across, "H", "F")


def test_tilt_does_not_turn_the_picture() -> None:
    """Slices tilted by any gantry are still seen from the feet."""
    for degrees, sign in product((-29.0, -18.5, 18.5, 29.0), (1, -1)):
        tilt = np.deg2rad(degrees)
        view = view_of((1.0, 0.0, 0.0), (0.0, sign * float(np.cos(tilt)), sign * float(np.sin(tilt))))
        assert (view.left, view.top) == ("R", "A")


def test_spacing_turns_along() -> None:
    """A transposed picture has its spacings exchanged."""
    assert view_of((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)).turn_spacing(0.5, 0.7) == (0.7, 0.5)
    assert view_of((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)).turn_spacing(0.5, 0.7) == (0.5, 0.7)
