"""What the demo shows while it runs, and the table at its end."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from worker.output.words import headline
from worker.result import AnalysisResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from console.demo.story import Arrivals, DemoOutcome

SPOKEN_STATES = {
    "receiving": "slices filed, waiting for late ones",
    "ready": "complete, waiting for its job",
    "queued": "waiting for the analysis worker",
    "running": "analysis running",
    "analysed": "analysed, delivering",
    "not_analysed": "NOT ANALYSED",
    "failed": "FAILED",
}


class Screen:
    """Speaks to a person at a terminal, and line by line to a log."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, sentence: str) -> None:
        """Print one line."""
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def warn(self, sentence: str) -> None:
        """Print what must not be overlooked."""
        self.console.print(Panel(sentence, style="bold yellow", highlight=False))

    @contextmanager
    def step(self, description: str) -> Iterator[None]:
        """Show that something takes a while, and say how long it took."""
        began_s = time.monotonic()
        with self.console.status(description):
            yield
        self.say(f"{description}: {time.monotonic() - began_s:.1f} s")

    @contextmanager
    def counting(self, description: str, *, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar and give the function that moves it by one."""
        began_s = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(description, total=total)
            yield lambda: progress.advance(task)
        self.say(f"{description}: {total} slices in {time.monotonic() - began_s:.1f} s")

    @contextmanager
    def waiting(self, *, settle_s: float) -> Iterator[Callable[[str, Arrivals], None]]:
        """Show where the study is, and give the function that is told its state."""
        self.say(f"Waiting for the result; the node publishes after {settle_s:.0f} s without new slices.")
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        last = ""
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=None)

            def on_state(state: str, arrivals: Arrivals) -> None:
                nonlocal last
                spoken = SPOKEN_STATES.get(state, state)
                there = f"; in the PACS: {', '.join(arrivals.kinds)}" if arrivals.kinds else ""
                there += "; alert received" if arrivals.alerts else ""
                progress.update(task, description=f"{spoken}{there}")
                if not self.console.is_terminal and spoken != last:
                    self.say(f"  {spoken}")
                last = spoken

            yield on_state

    def report(self, outcome: DemoOutcome) -> None:
        """Print truth against measured, the times, and where everything is."""
        if outcome.result is not None:
            result = AnalysisResult.from_json(json.dumps(outcome.result))
            self.console.print(Panel(headline(result), title="What the objects say", highlight=False))
        self.console.print(truth_table(outcome))
        self.console.print(time_table(outcome))
        self.say(f"Pictures and files are in {outcome.out.resolve()}: {', '.join(outcome.files) or 'none'}")
        self.say(f"The phantom and its truth: {(outcome.out / 'phantom').resolve()}")


def truth_table(outcome: DemoOutcome) -> Table:
    """Set what was put into the phantom beside what was measured."""
    table = Table(title=f"Truth against {outcome.model}", title_justify="left")
    for column in ("Class", "Side, truth", "Side, measured"):
        table.add_column(column)
    for column in ("Truth, mL", "Measured, mL", "Difference"):
        table.add_column(column, justify="right")
    findings = {} if outcome.result is None else {found["label"]: found for found in outcome.result["findings"]}
    sides = {lesion.label: lesion.laterality for lesion in outcome.truth.lesions}
    truth_ml = dict(outcome.truth.volumes_ml)
    for label in dict.fromkeys((*truth_ml, *findings)):
        known_ml = truth_ml.get(label, 0.0)
        found = findings.get(label)
        measured_ml = 0.0 if found is None else float(found["volume_ml"])
        difference = "-" if known_ml == 0 else f"{100 * (measured_ml - known_ml) / known_ml:+.1f} %"
        side = "-" if found is None else str(found["laterality"])
        table.add_row(label, sides.get(label, "-"), side, f"{known_ml:.1f}", f"{measured_ml:.1f}", difference)
    return table


def time_table(outcome: DemoOutcome) -> Table:
    """Show what arrived, and how long after the last slice."""
    arrivals = outcome.arrivals
    table = Table(title="After the last slice", title_justify="left")
    table.add_column("What")
    table.add_column("Arrived after", justify="right")
    table.add_column("Detail")
    table.add_row(
        f"SEG, SR and summary in {outcome.pacs_title}", spoken_s(arrivals.in_pacs_s), ", ".join(arrivals.kinds)
    )
    detail = f"{arrivals.alerts} with a right signature" + (
        f", {arrivals.badly_signed} with a WRONG one" if arrivals.badly_signed else ""
    )
    if arrivals.alert_provisional:
        detail += ", the first of them provisional"
    table.add_row("Alert at the webhook", spoken_s(arrivals.alert_s), detail)
    return table


def spoken_s(seconds: float | None) -> str:
    """Give seconds, or say that it never came."""
    return "NOT ARRIVED" if seconds is None else f"{seconds:.1f} s"
