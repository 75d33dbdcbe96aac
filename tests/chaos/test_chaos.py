"""A short form of `make chaos`: the split deployment, everything killed once, and nothing lost."""

from __future__ import annotations

import pytest

from tests.chaos.campaign import Plan, run
from tests.chaos.run import table


@pytest.mark.integration
@pytest.mark.timeout(600)
# pynetdicom leaves a socket that could not connect to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_lost_whatever_is_killed() -> None:
    """Every study ends analysed and confirmed, no object has two contents, no alert is missing."""
    plan = Plan(studies=10, harms=12, gap_s=0.8, analysis_workers=1, quiet_s=240.0, seed=20)
    report = run(plan)
    tails = "\n".join(f"--- {name}\n{text[-1500:]}" for name, text in report.logs.items())
    assert not report.audit.faults, f"seed {plan.seed}\n{table(report)}\n{tails}"
    assert report.audit.confirmed == plan.studies
    assert sum(report.done.values()) == plan.harms + 1
