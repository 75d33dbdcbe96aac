"""The picture that stands for a result: words, key slices with and without contours, a table of millilitres.

1024 pixels wide and legible at that. Without a volume it is a card of words. What was not analysed is drawn in
another colour, and without slices, so that it never looks like a negative result. No patient data is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from worker.output import words
from worker.output.key_slices import key_slices
from worker.output.render import WHITE, Rgb, SliceRenderer, font

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.output.context import WriteContext
    from worker.result import AnalysisResult, ResultFinding
    from worker.volume import Volume

WIDTH_PX = 1024
MARGIN_PX = 14
PAIR_GAP_PX, PANEL_GAP_PX = 16, 4
PANEL_PX = (WIDTH_PX - 2 * MARGIN_PX - PAIR_GAP_PX - 2 * PANEL_GAP_PX) // 4
TALLEST_PX = 3000

BACKGROUND: Rgb = (14, 17, 22)
DIM: Rgb = (150, 158, 168)
LINE: Rgb = (52, 58, 66)
AMBER: Rgb = (255, 196, 60)
BLACK: Rgb = (0, 0, 0)
BANNERS: dict[str, tuple[Rgb, Rgb]] = {  # banner and its text
    "suspected": ((178, 30, 40), WHITE),
    "small": ((176, 92, 20), WHITE),
    "none_marked": ((44, 74, 104), WHITE),
    "not_analysed": (AMBER, BLACK),
}
# Left edge of each column of the table
COLUMNS = (
    ("Finding", 0),
    ("Side", 330),
    ("Volume", 430),
    ("Members", 580),
    ("Axes", 720),
    ("Median", 850),
    ("Regions", 930),
)


def draw_sheet(ctx: WriteContext) -> npt.NDArray[np.uint8]:
    """Draw the picture of a result; (rows, 1024, 3) RGB."""
    sheet = _Sheet()
    _header(sheet, ctx.result)
    if ctx.volume is not None and ctx.result.status == "analysed":
        _slices(sheet, ctx, ctx.volume)
        if ctx.result.findings:
            _table(sheet, ctx)
    _warnings(sheet, ctx.result)
    _footer(sheet, ctx)
    return sheet.finished()


class _Sheet:
    """A canvas that is filled from top to bottom."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH_PX, TALLEST_PX), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)
        self.y = 0

    def write(self, text: str, size_px: int, colour: Rgb = WHITE, *, x: int = MARGIN_PX) -> None:
        """Write a text over as many lines as it takes."""
        for line in wrap(text, size_px, WIDTH_PX - MARGIN_PX - x):
            self.draw.text((x, self.y), line, colour, font(size_px))
            self.y += int(size_px * 1.32)

    def rule(self) -> None:
        """Draw a thin line across."""
        self.draw.line((MARGIN_PX, self.y, WIDTH_PX - MARGIN_PX, self.y), LINE, 1)
        self.y += 8

    def finished(self) -> npt.NDArray[np.uint8]:
        """Return what was filled; an even number of rows keeps the pixel data at an even length."""
        rows = min(TALLEST_PX, (self.y + MARGIN_PX + 1) // 2 * 2)
        return np.asarray(self.image.crop((0, 0, WIDTH_PX, rows)), dtype=np.uint8)


def wrap(text: str, size_px: int, width_px: float) -> list[str]:
    """Break a text at spaces so that every line fits; a single word that does not is left whole."""
    lines = [""]
    for word in words.plain(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size_px).getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _header(sheet: _Sheet, result: AnalysisResult) -> None:
    banner, ink = BANNERS[_banner(result)]
    sheet.draw.rectangle((0, 0, WIDTH_PX, 58), banner)
    sheet.draw.text((MARGIN_PX, 29), words.status(result), ink, font(32), anchor="lm", stroke_width=1, stroke_fill=ink)
    sheet.draw.text((WIDTH_PX - MARGIN_PX, 29), words.SERIES_DESCRIPTION, ink, font(19), anchor="rm")
    sheet.y = 70
    sheet.write(words.headline(result), 22)
    replaced = words.replaced(result)
    if replaced is not None:
        sheet.write(replaced, 20, AMBER)
    sheet.y += 6


def _banner(result: AnalysisResult) -> str:
    if result.conclusion is None:
        return "not_analysed"
    return "small" if result.conclusion == "suspected" and not result.alert else result.conclusion


def _slices(sheet: _Sheet, ctx: WriteContext, volume: Volume) -> None:
    """Lay out pairs, unmarked beside marked, two to a row; single slices, four to a row, where nothing is marked."""
    colours = {} if ctx.spec is None else {label.index: label.colour_rgb for label in ctx.spec.labels}
    renderer = SliceRenderer(volume, ctx.labels_kji, colours, size_px=PANEL_PX)
    shown = key_slices(ctx.labels_kji, ctx.findings, len(volume.slices))
    per_row = 2 if ctx.findings else 4
    for start in range(0, len(shown), per_row):
        for place, k in enumerate(shown[start : start + per_row]):
            x = MARGIN_PX + place * ((WIDTH_PX - 2 * MARGIN_PX + PAIR_GAP_PX) // per_row)
            sheet.image.paste(renderer.unmarked(k), (x, sheet.y))
            if ctx.findings:
                sheet.image.paste(renderer.marked(k), (x + PANEL_PX + PANEL_GAP_PX, sheet.y))
            sheet.draw.text((x, sheet.y + PANEL_PX + 3), _caption(ctx, volume, k), DIM, font(14))
        sheet.y += PANEL_PX + 26


def _caption(ctx: WriteContext, volume: Volume, k: int) -> str:
    slice_ = volume.slices[k]
    header = next((one for one in ctx.source if one.SOPInstanceUID == slice_.sop_instance_uid), None)
    number = None if header is None else header.get("InstanceNumber")
    image = f"Frame {slice_.frame + 1}" if slice_.frame is not None else f"Image {number}" if number else "Image"
    parts = [f"{image} (slice {k + 1} of {len(volume.slices)})"]
    if ctx.labels_kji is not None:
        pixel_cm2 = volume.row_spacing_mm * volume.column_spacing_mm / 100.0
        for found in ctx.findings:
            area_cm2 = float((ctx.labels_kji[k] == found.index).sum()) * pixel_cm2
            if area_cm2 >= 0.05:  # less would read as nothing, and there is little room
                parts.append(f"{found.label} {area_cm2:.1f} cm2")
    return words.plain("  ".join(parts))


def _table(sheet: _Sheet, ctx: WriteContext) -> None:
    sheet.y += 4
    for name, x in COLUMNS:
        sheet.draw.text((MARGIN_PX + x, sheet.y), name, DIM, font(14))
    sheet.y += 22
    sheet.rule()
    colours = {} if ctx.spec is None else {label.name: label.colour_rgb for label in ctx.spec.labels}
    for found in ctx.result.findings:
        sheet.draw.rectangle((MARGIN_PX, sheet.y + 3, MARGIN_PX + 12, sheet.y + 15), colours.get(found.label, WHITE))
        for (_, x), text in zip(COLUMNS, _row(found), strict=True):
            left = MARGIN_PX + x + (20 if x == 0 else 0)
            sheet.draw.text((left, sheet.y), text, WHITE, font(17))
        sheet.y += 26
    sheet.rule()
    sheet.draw.text((MARGIN_PX, sheet.y), "Total haemorrhage", WHITE, font(19))
    sheet.draw.text((MARGIN_PX + COLUMNS[2][1], sheet.y), words.total(ctx.result), WHITE, font(19))
    sheet.y += 32


def _row(found: ResultFinding) -> tuple[str, ...]:
    title = words.short_title(found.title)
    least_ml, most_ml = found.volume_range_ml
    return (
        title if found.haemorrhage else f"{title} (not in total)",
        found.laterality,
        words.volume(found.volume_ml, at_least=found.touches_edge),
        f"{least_ml:.1f} to {most_ml:.1f} mL",
        f"{found.long_axis_mm:.0f} x {found.short_axis_mm:.0f} mm",
        f"{found.median_hu:.0f} HU",
        str(found.components),
    )


def _warnings(sheet: _Sheet, result: AnalysisResult) -> None:
    for warning in result.warnings:
        sheet.write(f"! {warning.text}", 17, AMBER)
    sheet.y += 6


def _footer(sheet: _Sheet, ctx: WriteContext) -> None:
    sheet.rule()
    sheet.write(words.RESEARCH_USE, 18, AMBER)
    result, lines = ctx.result, []
    if result.status == "analysed":
        lines.append(f"{words.source(result)}.")
    elif result.series_number is not None:
        lines.append(f"Series {result.series_number}, {result.slices} slices.")
    if result.model is not None:
        model = result.model
        lines.append(f"Model {model.name} {model.version}, {model.members} members, {model.digest[:19]}.")
    lines.append(f"Written {ctx.local_time:%Y-%m-%d %H:%M %z}.")
    sheet.write(" ".join(lines), 15, DIM)
