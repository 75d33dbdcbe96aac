"""The one renderer of slices: brain window, contours in the colours of the labels, orientation letters, scale bar.

Used for the summary, for `overlay.png` and for the study page. No patient data is ever drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import binary_fill_holes

from worker.output.view import View, view_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.volume import Volume

WINDOW_LEVEL_HU, WINDOW_WIDTH_HU = 40.0, 80.0  # brain window
SCALE_BAR_MM = 50.0
AIR_HU = -1024
HEAD_ABOVE_HU = -300  # skin against air
MARGIN = 1.08  # of the head's extent
SMALLEST_FIELD_MM = 120.0
OVERSAMPLING = 2  # contours are drawn larger and scaled down, for smooth edges

Rgb = tuple[int, int, int]
WHITE: Rgb = (235, 235, 235)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A square cut-out around the head in displayed pixels: the middle, and its side in millimetres."""

    middle_ji: tuple[float, float]
    side_mm: float


class SliceRenderer:
    """Draws the slices of one volume, all with the same cut-out and turned the same way."""

    def __init__(
        self, volume: Volume, labels_kji: npt.NDArray[np.uint8] | None, colours: dict[int, Rgb], *, size_px: int
    ) -> None:
        self.volume = volume
        self.labels_kji = labels_kji
        self.colours = colours
        self.size_px = size_px
        self.view: View = view_of(volume.row_cosine, volume.column_cosine)
        self.spacing_mm = self.view.turn_spacing(volume.row_spacing_mm, volume.column_spacing_mm)
        self.field = self._field()

    def unmarked(self, k: int) -> Image.Image:
        """Draw slice k as scanned, with letters and scale bar."""
        image = self._grey(k, self.size_px).convert("RGB")
        self._annotate(image)
        return image

    def marked(self, k: int) -> Image.Image:
        """Draw slice k with the contour of every label on it."""
        size_px = self.size_px * OVERSAMPLING
        image = self._grey(k, size_px).convert("RGB")
        if self.labels_kji is not None:
            labels = self.view.turn(self.labels_kji[k])
            for index in np.unique(labels[labels > 0]):
                filled = binary_fill_holes(labels == index)  # no second line round what lies inside, such as in oedema
                image.paste(self.colours[int(index)], mask=self._outline(filled, size_px))
        image = image.resize((self.size_px, self.size_px), Image.Resampling.LANCZOS)
        self._annotate(image)
        return image

    def _grey(self, k: int, size_px: int) -> Image.Image:
        low_hu = WINDOW_LEVEL_HU - WINDOW_WIDTH_HU / 2
        hu = self.view.turn(self.volume.hu_kji[k]).astype(np.float32)
        grey = np.clip((hu - low_hu) * (255.0 / WINDOW_WIDTH_HU), 0, 255)
        return self._cut(grey.astype(np.uint8), size_px, Image.Resampling.BICUBIC)

    def _outline(self, mask: npt.NDArray[np.bool_], size_px: int) -> Image.Image:
        """Return a ring of three displayed half pixels on the border of a mask; never empty for a mask in view."""
        smooth = self._cut(mask.astype(np.uint8) * 255, size_px, Image.Resampling.BILINEAR)
        solid = smooth.point([255 if value >= 96 else 0 for value in range(256)])
        outer = np.asarray(solid.filter(ImageFilter.MaxFilter(5)))
        return Image.fromarray(np.where(np.asarray(solid) > 0, 0, outer).astype(np.uint8))

    def _cut(self, array: npt.NDArray[np.uint8], size_px: int, resampling: Image.Resampling) -> Image.Image:
        """Cut the field out of a displayed array and scale it; outside the scan is black."""
        half_j, half_i = (self.field.side_mm / 2 / spacing for spacing in self.spacing_mm)
        middle_j, middle_i = self.field.middle_ji
        pad = int(np.ceil(max(half_j, half_i)))
        padded = Image.fromarray(np.pad(array, pad))
        box = (middle_i - half_i + pad, middle_j - half_j + pad, middle_i + half_i + pad, middle_j + half_j + pad)
        return padded.resize((size_px, size_px), resampling, box=box)

    def _field(self) -> Field:
        """Find the square that holds the head on every slice; the whole picture where there is only air."""
        head_ji = self.view.turn(np.any(self.volume.hu_kji[:, ::2, ::2] > HEAD_ABOVE_HU, axis=0))
        rows, columns = np.flatnonzero(_solid(head_ji, axis=1)), np.flatnonzero(_solid(head_ji, axis=0))
        if rows.size == 0 or columns.size == 0:
            rows, columns = np.arange(head_ji.shape[0]), np.arange(head_ji.shape[1])
        (top, bottom), (left, right) = ((2 * found[0], 2 * found[-1] + 2) for found in (rows, columns))
        extent_mm = max((bottom - top) * self.spacing_mm[0], (right - left) * self.spacing_mm[1])
        return Field(
            middle_ji=((top + bottom) / 2, (left + right) / 2),
            side_mm=max(float(extent_mm) * MARGIN, SMALLEST_FIELD_MM),
        )

    def _annotate(self, image: Image.Image) -> None:
        draw, size = ImageDraw.Draw(image), self.size_px
        letters = (
            (4, size // 2, "lm", self.view.left),
            (size - 4, size // 2, "rm", self.view.right),
            (size // 2, 4, "ma", self.view.top),
            (size // 2, size - 4, "md", self.view.bottom),
        )
        for x, y, anchor, letter in letters:
            draw.text((x, y), letter, WHITE, font(15), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
        length = SCALE_BAR_MM / self.field.side_mm * size
        x, y = 8, size - 9
        draw.line((x, y, x + length, y), WHITE, 2)
        for end in (x, x + length):
            draw.line((end, y - 4, end, y + 4), WHITE, 2)
        draw.text(
            (x, y - 7), f"{SCALE_BAR_MM:.0f} mm", WHITE, font(12), anchor="ld", stroke_width=2, stroke_fill=(0, 0, 0)
        )


@lru_cache(maxsize=16)
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's built-in typeface, so that no font file is needed."""
    found = ImageFont.load_default(size_px)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType.")
    return found


def _solid(mask_ji: npt.NDArray[np.bool_], *, axis: int) -> npt.NDArray[np.bool_]:
    """Tell which rows or columns hold more than a stray pixel or the edge of a head rest."""
    counts = mask_ji.sum(axis=axis)
    solid: npt.NDArray[np.bool_] = counts > 0.06 * mask_ji.shape[axis]
    return solid
