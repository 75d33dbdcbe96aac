"""`python -m tests.chaos.run`: the long chaos run, with a table for docs/benchmarks.md; what `make chaos` does."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.chaos.campaign import Plan, Report, run


def main() -> int:
    """Run, print, and give 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--gap", type=float, default=4.0, help="mean seconds between two of them")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to do the same again")
    parser.add_argument("--logs", type=Path, default=None, help="a folder for the logs of all parts")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if chosen.seed is None else chosen.seed
    say(f"seed {seed}: --seed {seed} does the same in the same order")
    plan = Plan(
        studies=chosen.studies, harms=chosen.kills, gap_s=chosen.gap, analysis_workers=2, quiet_s=240.0, seed=seed
    )
    report = run(plan)
    say(table(report))
    if chosen.logs is not None:
        chosen.logs.mkdir(parents=True, exist_ok=True)
        for name, text in report.logs.items():
            (chosen.logs / f"{name}.log").write_text(text)
    for fault in report.audit.faults:
        say(f"FAULT: {fault}")
    return 1 if report.audit.faults else 0


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(report: Report) -> str:
    """Give the figures as Markdown."""
    books = report.audit
    harms = ", ".join(f"{name} {count}x" for name, count in sorted(report.done.items()))
    rows = (
        ("harms", f"{sum(report.done.values())} in {report.harm_s:.0f} s: {harms}"),
        ("starts of parts by the keeper", str(sum(report.restarts.values()))),
        ("associations and requests that the senders needed", f"{report.tries} for {books.studies} studies"),
        ("studies analysed and confirmed by both PACS", f"{books.confirmed} of {books.studies}"),
        ("slices held, byte for byte", f"{books.instances_held} of {books.instances_sent}"),
        ("objects in both PACS, byte for byte", f"{books.objects}, after {books.object_sends} C-STOREs"),
        ("alerts", f"{books.alerts} ids in {books.alert_posts} messages"),
        ("results that a later one superseded", str(books.superseded)),
        ("last slice to all confirmed", f"{report.quiet_s:.0f} s"),
        ("faults", str(len(books.faults))),
    )
    return "\n".join(["| what | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)])


if __name__ == "__main__":
    sys.exit(main())
