"""One slice of a scan as a picture: truth and answer outlined, on the CT where it is at hand.

The slice is the one where they differ most. As radiologists look: the patient's right on the left, front up.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from models.evaluation.grid import MaskGrid

TRUTH_RGB, ANSWER_RGB = (64, 224, 96), (255, 72, 196)
_WINDOW_HU = (0.0, 80.0)
_SIDE_PIXELS = 320


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureMasks:
    """What is drawn; all arrays (i, j, k) of one grid."""

    answer: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.bool_]
    grid: MaskGrid
    hu: npt.NDArray[np.floating[Any]] | None = None


def draw_worst_slice(masks: PictureMasks) -> Image.Image:
    """Draw the slice with most voxels that only one of the two marks."""
    answer, truth = (_as_looked_at(mask, masks.grid) for mask in (masks.answer, masks.truth))
    differs = (answer ^ truth).sum(axis=(1, 2))
    k = int((differs if differs.any() else truth.sum(axis=(1, 2))).argmax())
    ground = np.zeros(truth.shape[1:], dtype=np.uint8)
    if masks.hu is not None:
        low, high = _WINDOW_HU
        hu = _as_looked_at(masks.hu, masks.grid)[k]
        ground = (np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    factor = max(1, round(_SIDE_PIXELS / max(ground.shape)))
    canvas = np.repeat(_enlarged(ground, factor)[..., None], 3, axis=2)
    for mask, colour in ((truth[k], TRUTH_RGB), (answer[k], ANSWER_RGB)):
        large = _enlarged(mask, factor)
        canvas[large & ~ndimage.binary_erosion(large)] = colour
    image = Image.fromarray(canvas)
    return image.resize((_SIDE_PIXELS, round(_SIDE_PIXELS * canvas.shape[0] / canvas.shape[1])))


def data_uri(image: Image.Image) -> str:
    """Return the picture as a `data:` address, PNG."""
    held = io.BytesIO()
    image.save(held, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def read_hu(path: Path, grid: MaskGrid) -> npt.NDArray[np.floating[Any]] | None:
    """Read a NIfTI CT for a picture; None where it does not fit the mask."""
    values = np.asanyarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    return values.astype(np.float32) if values.shape == grid.shape else None


def _enlarged(plane: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    return plane.repeat(factor, axis=0).repeat(factor, axis=1)


def _as_looked_at(array_ijk: npt.NDArray[Any], grid: MaskGrid) -> npt.NDArray[Any]:
    """Return the array as (slice, row, column): foot to head, front to back, the patient's right to left."""
    turned: npt.NDArray[Any] = nib.orientations.apply_orientation(  # type: ignore[no-untyped-call]
        array_ijk,
        nib.orientations.io_orientation(grid.affine_ras),  # type: ignore[no-untyped-call]
    )
    return turned[::-1, ::-1].transpose(2, 1, 0)
