"""An evaluation as one page of HTML that needs nothing else: figures, plots, worst scans as pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader

from console.evaluation.picture import PictureMasks, data_uri, draw_worst_slice, read_hu
from console.evaluation.plot import Line, Plot
from models.evaluation.mask_file import BadMask
from models.evaluation.scan import blood_of, read_scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from models.evaluation.evaluation import Evaluation
    from models.evaluation.pairing import Pair
    from models.evaluation.scan import ScanFigures, Scoring

WORST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstScan:
    """A scan that went badly, as a picture."""

    scan: ScanFigures
    picture: str  # data: address


def write_report(out: Path, evaluation: Evaluation, worst: Iterable[WorstScan]) -> None:
    """Write the page."""
    pages = Environment(
        loader=PackageLoader("console.evaluation"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters["figure"] = figure
    page = pages.get_template("report.html").render(
        evaluation=evaluation,
        summary=evaluation.summary,
        plots=[plot.svg() for plot in plots_of(evaluation)],
        worst=list(worst),
    )
    out.write_text(page, encoding="utf-8")


def figure(value: float | None, digits: int = 3) -> str:
    """Write a figure: `-` where there is none, the word for infinity."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if math.isfinite(value) else "infinite"


def worst_scans(evaluation: Evaluation) -> list[ScanFigures]:
    """Return the scans with the lowest Dice, larger volume errors first; never those that are rightly empty."""
    marked = [scan for scan in evaluation.scans if scan.any.dice is not None]
    return sorted(marked, key=lambda scan: (scan.any.dice_empty_one, -abs(scan.any.answer_ml - scan.any.truth_ml)))[
        :WORST
    ]


def draw_worst(
    evaluation: Evaluation, pairs: Iterable[Pair], scoring: Scoring, images: Mapping[str, Path]
) -> list[WorstScan]:
    """Read the worst scans again and draw them; `images` holds CTs by scan name."""
    by_name = {pair.name: pair for pair in pairs}
    drawn = []
    for scan in worst_scans(evaluation):
        try:
            masks = read_scan(by_name[scan.name], scoring)
        except BadMask:  # changed since it was scored: the figures stand, the picture does not
            continue
        answer, truth = blood_of(masks, scoring)
        path = images.get(scan.name)
        hu = read_hu(path, masks.truth.grid) if path is not None else None
        picture = draw_worst_slice(PictureMasks(answer=answer, truth=truth, grid=masks.truth.grid, hu=hu))
        drawn.append(WorstScan(scan=scan, picture=data_uri(picture)))
    return drawn


def plots_of(evaluation: Evaluation) -> list[Plot]:
    """Return the plots that the evaluation has figures for."""
    scans = evaluation.scans
    volumes = [(scan.any.truth_ml, scan.any.answer_ml, scan.name) for scan in scans]
    most = max(max(truth, answer) for truth, answer, _ in volumes) or 1.0
    plots = [
        Plot(
            title="Volume",
            x_name="truth, mL",
            y_name="answer, mL",
            points=tuple(volumes),
            lines=(Line(points=((0, 0), (most, most)), dashed=True),),
        ),
        _bland_altman(evaluation),
        Plot(
            title="Dice by size",
            x_name="truth, mL (logarithm to base 10)",
            y_name="Dice",
            points=tuple(
                (math.log10(scan.any.truth_ml), scan.any.dice, scan.name)
                for scan in scans
                if scan.any.truth_ml > 0 and scan.any.dice is not None
            ),
            y_range=(0, 1),
        ),
    ]
    curve = evaluation.summary.froc
    if curve is not None:
        points = tuple(zip(curve.false_per_scan, curve.sensitivity, strict=True))
        plots.append(
            Plot(
                title="FROC",
                x_name="false marks per scan",
                y_name="lesions found",
                lines=(Line(points=points),),
                y_range=(0, 1),
            )
        )
    calibrated = evaluation.summary.calibration
    if calibrated is not None:
        plots.append(
            Plot(
                title="Reliability",
                x_name="stated probability of blood",
                y_name="share with blood",
                points=tuple((one.mean_probability, one.share_true, f"{one.cases} scans") for one in calibrated.bins),
                lines=(Line(points=((0, 0), (1, 1)), dashed=True),),
                x_range=(0, 1),
                y_range=(0, 1),
            )
        )
    return plots


def _bland_altman(evaluation: Evaluation) -> Plot:
    means = [(scan.any.truth_ml + scan.any.answer_ml) / 2 for scan in evaluation.scans]
    limits = evaluation.summary.classes[0].bland_altman
    span = (min(means), max(means))
    lines = (
        ()
        if limits is None
        else tuple(
            Line(points=((span[0], level), (span[1], level)), dashed=name != "bias", name=name)
            for name, level in (("bias", limits.bias_ml), ("-1.96 SD", limits.lower_ml), ("+1.96 SD", limits.upper_ml))
        )
    )
    return Plot(
        title="Bland-Altman",
        x_name="mean of both, mL",
        y_name="answer - truth, mL",
        points=tuple(
            (mean, scan.any.answer_ml - scan.any.truth_ml, scan.name)
            for mean, scan in zip(means, evaluation.scans, strict=True)
        ),
        lines=lines,
    )
