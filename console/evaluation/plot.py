"""Small plots as SVG text, so that a report is one file without scripts or fonts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 28, 44
_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points of the plot, with its name in the picture; dashed where it is only a guide."""

    points: tuple[tuple[float, float], ...]
    dashed: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Points and lines over two named axes; points that are not finite are left out."""

    title: str
    x_name: str
    y_name: str
    points: tuple[tuple[float, float, str], ...] = ()  # x, y, what it is
    lines: tuple[Line, ...] = ()
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None

    def svg(self) -> Markup:
        """Draw the plot."""
        places = [(x, y) for x, y, _ in self.points] + [place for line in self.lines for place in line.points]
        finite = [(x, y) for x, y in places if math.isfinite(x) and math.isfinite(y)]
        x_range = self.x_range or _range([x for x, _ in finite])
        y_range = self.y_range or _range([y for _, y in finite])
        frame = _Frame(x_range=x_range, y_range=y_range)
        parts = [*frame.grid(), *(_line(frame, line) for line in self.lines)]
        parts += [
            f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.5"><title>{escape(what)}</title></circle>'
            for x, y, what in self.points
            if math.isfinite(x) and math.isfinite(y)
        ]
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(f'<text class="title" x="{middle}" y="16">{escape(self.title)}</text>')
        parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 8}">{escape(self.x_name)}</text>')
        parts.append(
            f'<text class="axis" transform="translate(13 {(_TOP + HEIGHT - _BOTTOM) / 2}) rotate(-90)">'
            f"{escape(self.y_name)}</text>"
        )
        label = escape(f"{self.title}: {self.y_name} over {self.x_name}")
        # every text in `parts` was escaped above
        return Markup(  # noqa: S704
            f'<svg class="plot" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> list[str]:
        parts = []
        for value in _ticks(self.x_range):
            x = self.x(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
            parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 15}">{value:g}</text>')
        for value in _ticks(self.y_range):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick left" x="{_LEFT - 5}" y="{y + 4:.1f}">{value:g}</text>')
        return parts


def _line(frame: _Frame, line: Line) -> str:
    places = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line.points)
    kind = "line dashed" if line.dashed else "line"
    drawn = f'<polyline class="{kind}" points="{places}"/>'
    if not line.name:
        return drawn
    x, y = line.points[-1]
    return f'{drawn}<text class="name" x="{frame.x(x) - 3:.1f}" y="{frame.y(y) - 4:.1f}">{escape(line.name)}</text>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) if high > low else max(abs(high), 1.0) * 0.5
    return low - margin, high + margin


def _ticks(span: tuple[float, float]) -> list[float]:
    """Return round values inside the span: steps of 1, 2 or 5 times a power of ten."""
    rough = (span[1] - span[0]) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(span[0] / step - 1e-9)
    last = math.floor(span[1] / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
