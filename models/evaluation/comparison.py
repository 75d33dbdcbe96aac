"""Two systems on the same scans: paired tests, corrected for their number (Holm 1979), and whether they are fair.

Wilcoxon's signed-rank test on each figure's differences over the scans that both scored, McNemar's exact test on
found and missed exams. An infinite distance ranks behind every finite one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter
from scipy.stats import binomtest, wilcoxon

from ichor.errors import PermanentError
from models.evaluation.evaluation import Evaluation
from models.evaluation.exam import RESAMPLES
from models.evaluation.provenance import unlike
from models.evaluation.scan import ClassFigures, ScanFigures


class NotComparable(PermanentError):
    """The two evaluations share nothing that could be compared."""

    code = "not_comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """One figure of both systems over the same scans; the difference is B - A with a bootstrap interval."""

    figure: str
    test: Literal["wilcoxon", "mcnemar"]
    scans: int
    a: float | None  # mean of the finite values
    b: float | None
    median_difference: float | None
    low: float | None
    high: float | None
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of `ichor compare`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings")

    schema: Literal[1] = 1
    kind: Literal["comparison"] = "comparison"
    a: str
    b: str
    data: str
    scans: int  # scored for both
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    tests: tuple[PairedTest, ...]
    unfair: tuple[str, ...] = ()  # why a difference may not be the systems' own

    def to_json(self) -> str:
        """Return the comparison as JSON."""
        return TypeAdapter(Comparison).dump_json(self, indent=1).decode() + "\n"


_FIGURES: tuple[tuple[str, Callable[[ClassFigures], float | None]], ...] = (
    ("dice", lambda one: one.dice if one.truth_ml > 0 else None),
    ("hd95_mm", lambda one: one.hd95_mm if one.truth_ml > 0 else None),
    ("nsd", lambda one: one.nsd if one.truth_ml > 0 else None),
    ("volume_error_ml", lambda one: abs(one.answer_ml - one.truth_ml) if one.truth_ml > 0 else None),
    ("false_ml", lambda one: one.answer_ml if one.truth_ml == 0 else None),
)


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """Compare two evaluations of one data set; raise NotComparable where truth, classes or scans differ."""
    of_a, of_b = ({scan.name: scan for scan in one.scans} for one in (a, b))
    both = [name for name in of_a if name in of_b]
    _check(a, b, [(of_a[name], of_b[name]) for name in both])
    classes = [one.name for one in a.scans[0].classes if one.name in {other.name for other in b.scans[0].classes}]
    pairs = [(of_a[name], of_b[name]) for name in both]
    tests = [test for name in classes for figure in _FIGURES if (test := _wilcoxon(name, figure, pairs)) is not None]
    exams = _mcnemar(pairs, alarm_ml=a.summary.alarms.threshold_ml)
    tests += [] if exams is None else [exams]
    return Comparison(
        a=a.system,
        b=b.system,
        data=a.data,
        scans=len(both),
        only_a=tuple(name for name in of_a if name not in of_b),
        only_b=tuple(name for name in of_b if name not in of_a),
        tests=tuple(
            replace(test, p_holm=p_holm) for test, p_holm in zip(tests, holm([test.p for test in tests]), strict=True)
        ),
        unfair=unlike((a.system, b.system), (a.provenance, b.provenance)),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values, in the order given (Scandinavian Journal of Statistics 1979;6:65)."""
    adjusted = [0.0] * len(p_values)
    greatest = 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        greatest = max(greatest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = greatest
    return tuple(adjusted)


def _check(a: Evaluation, b: Evaluation, pairs: list[tuple[ScanFigures, ScanFigures]]) -> None:
    if not pairs:
        raise NotComparable(f"{a.system} and {b.system} have no scan in common.")
    for one, other in pairs:
        if not math.isclose(one.any.truth_ml, other.any.truth_ml, rel_tol=1e-6, abs_tol=1e-6):
            raise NotComparable(
                f"{one.name}: the truth has {one.any.truth_ml:.2f} mL for A and {other.any.truth_ml:.2f} mL for B; "
                "they were scored against different truths or label maps."
            )


def _wilcoxon(
    name: str,
    figure: tuple[str, Callable[[ClassFigures], float | None]],
    pairs: list[tuple[ScanFigures, ScanFigures]],
) -> PairedTest | None:
    what, read = figure
    values = [
        (first, second)
        for one, other in pairs
        if (first := read(_class(one, name))) is not None and (second := read(_class(other, name))) is not None
    ]
    if not values:
        return None
    table = np.array(values, dtype=np.float64)
    finite = np.isfinite(table)
    ranked = np.where(finite, table, (table[finite].max() if finite.any() else 0.0) + 1.0)
    difference = ranked[:, 1] - ranked[:, 0]
    p = float(wilcoxon(difference).pvalue) if np.any(difference != 0) else 1.0
    low, high = _interval(difference)
    return PairedTest(
        figure=f"{name}: {what}",
        test="wilcoxon",
        scans=len(values),
        a=_finite_mean(table[:, 0]),
        b=_finite_mean(table[:, 1]),
        median_difference=float(np.median(difference)) if finite.all() else None,
        low=low if finite.all() else None,
        high=high if finite.all() else None,
        p=p,
        p_holm=p,
    )


def _mcnemar(pairs: list[tuple[ScanFigures, ScanFigures]], *, alarm_ml: float) -> PairedTest | None:
    """Compare which exams were called rightly at the threshold, those with and without blood together."""
    right = np.array(
        [[(one.any.answer_ml >= alarm_ml) == (one.any.truth_ml > 0) for one in pair] for pair in pairs], dtype=bool
    )
    only_a, only_b = int((right[:, 0] & ~right[:, 1]).sum()), int((right[:, 1] & ~right[:, 0]).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return PairedTest(
        figure=f"exams called rightly at {alarm_ml:g} mL",
        test="mcnemar",
        scans=len(pairs),
        a=float(right[:, 0].mean()),
        b=float(right[:, 1].mean()),
        median_difference=None,
        low=None,
        high=None,
        p=p,
        p_holm=p,
    )


def _interval(difference: npt.NDArray[np.float64]) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = np.median(difference[random.integers(0, len(difference), (RESAMPLES, len(difference)))], axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _finite_mean(values: npt.NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _class(scan: ScanFigures, name: str) -> ClassFigures:
    return next(one for one in scan.classes if one.name == name)
