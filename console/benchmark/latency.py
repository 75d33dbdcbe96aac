"""From the last slice to SEG, SR and summary in the PACS: the demo's node and PACS, run a few times."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from console.benchmark.figures import Benchmark, Figure, benchmark
from console.demo.node import SETTLE_S
from console.demo.screen import Screen
from console.demo.story import DemoRequest, run_demo
from ichor.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL = "the model alone, in the same run"


def measure_latency(
    *,
    runs: int,
    slices: int | None,
    model: str | None,
    members: int | None,
    models_dir: Path,
    environ: Mapping[str, str],
) -> Benchmark:
    """Run the demo `runs` times and give medians; raise TransientError where a result did not arrive."""
    in_pacs_s, alert_s, model_s = [], [], []
    title, early = "", True
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
            request = DemoRequest(
                out=Path(scratch), model=model, members=members, models_dir=models_dir, environ=environ, slices=slices
            )
            outcome = run_demo(request, Screen(Console(stderr=True)))
        arrivals = outcome.arrivals
        if arrivals.in_pacs_s is None or arrivals.alert_s is None or outcome.result is None:
            raise TransientError("A result did not arrive; run the demo to see why.")
        in_pacs_s.append(arrivals.in_pacs_s)
        alert_s.append(arrivals.alert_s)
        early = early and arrivals.alert_provisional
        model_s.append(float(outcome.result["timing_s"]["model"]))
        title = (
            f"{outcome.model} to {outcome.pacs_title}, {outcome.truth.slices} slices, settled after {SETTLE_S:.0f} s"
        )
    alone_s = statistics.median(model_s)
    figures = tuple(
        Figure(what=what, value=seconds, unit="s", ratio=seconds / alone_s, peer=MODEL)
        for what, seconds in (
            (MODEL, alone_s),
            ("last slice to SEG, SR and summary in the PACS", statistics.median(in_pacs_s)),
            ("the same, without settling time", statistics.median(in_pacs_s) - SETTLE_S),
            (f"last slice to {'provisional ' if early else ''}alert", statistics.median(alert_s)),
        )
    )
    command = f"ichor benchmark latency --runs {runs}" + ("" if slices is None else f" --slices {slices}")
    return benchmark(f"Latency: {title}", command, figures)
