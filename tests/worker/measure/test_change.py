"""Change against a prior result: worked by hand, and refused where the two do not compare."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.change import change_since
from worker.result import AnalysisResult, ResultCoverage, ResultModel

SCANNED = datetime(2026, 3, 4, 2, 0, tzinfo=UTC)
MODEL = ResultModel(name="m", version="1", digest="sha256:" + "0" * 64, members=12, precision="float32", device="cpu")
WHOLE = ResultCoverage(whole_head=True, lowest_mm=-80.0, highest_mm=80.0)
HALF = ResultCoverage(whole_head=False, lowest_mm=-80.0, highest_mm=0.0)


def result(total_ml: float, hours: float = 0.0) -> AnalysisResult:
    return AnalysisResult(
        status="analysed",
        conclusion="suspected" if total_ml else "none_marked",
        written_at=SCANNED + timedelta(hours=hours, minutes=5),
        scanned_at=SCANNED + timedelta(hours=hours),
        study_instance_uid="1.2.3",
        model=MODEL,
        coverage=WHOLE,
        total_haemorrhage_ml=total_ml,
    )


@pytest.mark.parametrize(
    ("before_ml", "after_ml", "change_ml", "percent"),
    [
        (15.2, 17.0, 1.8, 11.8),
        (12.0, 16.0, 4.0, 33.3),
        (3.0, 6.0, 3.0, 100.0),
        (2.999, 6.0, 3.001, None),
        (0.0, 5.0, 5.0, None),
        (20.0, 0.0, -20.0, -100.0),
        (7.5, 7.5, 0.0, 0.0),
    ],
)
def test_change_by_hand(before_ml: float, after_ml: float, change_ml: float, percent: float | None) -> None:
    """Millilitres always, per cent from a baseline of 3 mL up."""
    change = change_since(result(before_ml), result(after_ml, hours=6.0))
    assert change is not None
    assert (change.prior_total_ml, change.change_ml, change.change_percent) == (before_ml, change_ml, percent)
    assert change.prior_scanned_at == SCANNED


@pytest.mark.parametrize(
    "other",
    [
        {"scanned_at": None},
        {"scanned_at": SCANNED + timedelta(hours=6)},
        {"scanned_at": SCANNED + timedelta(hours=5, minutes=50)},
        {"model": replace(MODEL, digest="sha256:" + "1" * 64)},
        {"model": replace(MODEL, members=3)},
        {"coverage": HALF},
        {"coverage": None},
        {"total_haemorrhage_ml": None},
    ],
)
def test_what_does_not_compare(other: dict[str, Any]) -> None:
    """Another model, another part of the head, the same or an unknown time: nothing is said."""
    assert change_since(replace(result(10.0), **other), result(12.0, hours=6.0)) is None


def test_parts_of_a_head_compare_where_they_are_alike() -> None:
    """Two scans of the same half compare; one that reaches 2 cm further does not."""
    now = replace(result(12.0, hours=6.0), coverage=replace(HALF, highest_mm=10.0))
    assert change_since(replace(result(10.0), coverage=HALF), now) is not None
    further = replace(now, coverage=replace(HALF, highest_mm=20.0))
    assert change_since(replace(result(10.0), coverage=HALF), further) is None


def test_change_survives_json() -> None:
    """What was written is read again; results without the keys are read as before."""
    now = result(12.0, hours=6.0)
    now = replace(now, change=change_since(result(10.0), now))
    assert now.change is not None
    assert AnalysisResult.from_json(now.to_json()) == now
