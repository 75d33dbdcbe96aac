"""The gate: which series of a study is fit for the model, judged by headers alone, with a reason for every other.

The rules are data (worker/gate_rules.py). A study gives the same verdicts in the same order, however its files came in.
`judge_content` (worker/content.py) takes the second look, at voxels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.multival import MultiValue

from ichor.errors import NotAnalysable
from worker.acquisitions import UNTIMED, number_acquisitions, span_of
from worker.content import Content, judge_content
from worker.gate_rules import GateRules, RulesInvalid, load_rules
from worker.reason import Reason
from worker.registration import SEVERAL_NAMES, registration_of
from worker.stack import Stack, stack_slices

if TYPE_CHECKING:
    from pydicom import Dataset

    from worker.series import Series, Study

__all__ = ["Content", "GateRules", "Reason", "RulesInvalid", "Verdict", "judge", "judge_content", "load_rules"]

DAYS_PER_YEAR = 365.25
AGE_UNITS = {"D": 1 / DAYS_PER_YEAR, "W": 7 / DAYS_PER_YEAR, "M": 1 / 12, "Y": 1.0}  # PS3.5 Table 6.2-1, AS


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the headers of one series say; `rank` sorts those of one acquisition, best first."""

    series_instance_uid: str
    series_number: int | None
    description: str
    instances: int
    accepted: bool
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    soft_kernel: bool
    """Whether the kernel's name says that it is smooth; without a known name the noise has a say."""
    rank: tuple[Any, ...]
    acquisition: int = UNTIMED
    """Number of the acquisition among those with fit series, in order of time."""


def judge(study: Study, rules: GateRules) -> tuple[Verdict, ...]:
    """Judge every series of a study; best first, and among the unfit the one with most slices first.

    Of several acquisitions the latest comes first: it shows how the patient is now.
    """
    verdicts = [_judge(series, rules) for series in study.series]
    fit = {verdict.series_instance_uid for verdict in verdicts if verdict.accepted}
    numbers = number_acquisitions(series for series in study.series if series.series_instance_uid in fit)
    numbered = (replace(verdict, acquisition=numbers.get(verdict.series_instance_uid, UNTIMED)) for verdict in verdicts)
    return tuple(
        sorted(numbered, key=lambda verdict: (not verdict.accepted, -verdict.acquisition, verdict.rank)),
    )


def _judge(series: Series, rules: GateRules) -> Verdict:
    values = _Values(series.headers)
    reasons = [Reason(code=rule.code, text=rule.text) for rule in rules.refuse if values.mostly(rule.tags, rule.holds)]
    warnings = [Reason(code=rule.code, text=rule.text) for rule in rules.warn if values.mostly(rule.tags, rule.holds)]
    for limit in rules.limits:
        if any(not limit.min <= number <= limit.max for number in values.numbers(limit.tag)):
            (warnings if limit.warn else reasons).append(Reason(code=limit.code, text=limit.text))
    if len({registration_of(header) for header in series.headers}) > 1:
        reasons.insert(0, SEVERAL_NAMES)
    _judge_age(series.header, rules, reasons, warnings)
    stack = _judge_geometry(series, rules, reasons, warnings)
    reasons, warnings = _once(reasons), _once(warnings)
    return Verdict(
        series_instance_uid=series.series_instance_uid,
        series_number=series.number,
        description=str(series.header.get("SeriesDescription") or ""),
        instances=len(series.headers),
        accepted=not reasons,
        reasons=tuple(reasons),
        warnings=tuple(warnings),
        soft_kernel=rules.soft_kernel is not None and values.mostly(rules.soft_kernel.tags, rules.soft_kernel.holds),
        rank=_rank(series, rules, values, stack, accepted=not reasons),
    )


def _judge_age(header: Dataset, rules: GateRules, reasons: list[Reason], warnings: list[Reason]) -> None:
    if rules.age is None:
        return
    years = _age_years(header)
    if years is None:
        warnings.append(Reason(code="age_unknown", text="the patient's age is not known; the model is for adults"))
    elif years < rules.age.min_years:
        reasons.append(Reason(code="under_age", text=f"patient under {rules.age.min_years} years"))


def _judge_geometry(series: Series, rules: GateRules, reasons: list[Reason], warnings: list[Reason]) -> Stack | None:
    """Judge the stack; None where the slices do not form one."""
    bounds = rules.geometry
    if not all(math.isfinite(one.rescale_slope) and math.isfinite(one.rescale_intercept) for one in series.slices):
        reasons.append(Reason(code="no_hounsfield", text="the values cannot be turned into Hounsfield units"))
    try:
        stack = stack_slices(series.slices)
    except NotAnalysable as error:
        reasons.append(Reason(code=error.code, text=error.text))
        return None
    warnings.extend(stack.warnings)
    first, step = stack.slices[0], float(stack.gaps_mm.max())
    off_axial = math.degrees(math.acos(min(1.0, abs(stack.normal[2]))))
    checks = (
        (off_axial > bounds.max_off_axial_deg, "not_axial", "slices are not axial"),
        (
            len(stack.slices) < bounds.min_slices,
            "too_few_slices",
            f"only {len(stack.slices)} slices; at least {bounds.min_slices} are needed",
        ),
        (
            stack.extent_mm < bounds.min_extent_mm,
            "short_scan",
            f"only {stack.extent_mm:.0f} mm scanned; at least {bounds.min_extent_mm:.0f} mm are needed",
        ),
        (step > bounds.max_step_mm, "wide_gap", f"a gap of {step:.1f} mm between slices"),
        (stack.missing > bounds.max_missing, "many_missing", f"about {stack.missing} slices are missing"),
        (
            max(first.row_spacing_mm, first.column_spacing_mm) > bounds.max_pixel_mm,
            "coarse_pixels",
            "pixels too coarse for a head",
        ),
    )
    reasons.extend(Reason(code=code, text=text) for wrong, code, text in checks if wrong)
    if bounds.warn_step_mm < step <= bounds.max_step_mm:
        warnings.append(Reason(code="wide_step", text=f"slices up to {step:.1f} mm apart; small bleeds may be missed"))
    return stack


def _rank(series: Series, rules: GateRules, values: _Values, stack: Stack | None, *, accepted: bool) -> tuple[Any, ...]:
    """Make the key: fit, preferences of the rules, coverage, spacing, then what only breaks ties."""
    bounds, span = rules.geometry, span_of(series)
    tie = (
        -len(series.slices),
        # The later of two alike: a repeat is made because the first was spoilt.
        math.inf if span is None else -span.begin.timestamp(),
        series.series_instance_uid,
    )
    if not accepted or stack is None:
        return (1, *tie)
    step = float(np.median(stack.gaps_mm))
    in_class = [low <= step <= high for low, high in (bounds.preferred_step_mm, bounds.adequate_step_mm)]
    spacing_class = in_class.index(True) if True in in_class else len(in_class)
    preferences = tuple(0 if values.mostly(rule.tags, rule.holds) else 1 for rule in rules.prefer)
    return (0, preferences, 0 if stack.extent_mm >= bounds.whole_extent_mm else 1, spacing_class, *tie)


class _Values:
    """The values of elements in the headers of one series, as text, looked up once."""

    def __init__(self, headers: tuple[Dataset, ...]) -> None:
        self._headers = headers
        self._found: dict[str, list[tuple[str, ...]]] = {}

    def mostly(self, tags: tuple[str, ...], holds: Callable[[tuple[str, ...]], bool]) -> bool:
        """Say whether a rule holds for at least half of the instances."""
        per_tag = [self._of(tag) for tag in tags]
        held = sum(holds(sum(values, ())) for values in zip(*per_tag, strict=True))
        return 2 * held >= len(self._headers)

    def numbers(self, tag: str) -> list[float]:
        """Give every value that is a number."""
        found = []
        for values in self._of(tag):
            for value in values:
                try:
                    found.append(float(value))
                except ValueError:
                    continue
        return found

    def _of(self, tag: str) -> list[tuple[str, ...]]:
        if tag not in self._found:
            self._found[tag] = [_texts(header, tag) for header in self._headers]
        return self._found[tag]


def _texts(header: Dataset, tag: str) -> tuple[str, ...]:
    """Give an element's values as stripped text; in multi-frame objects those of the functional groups too."""
    value = header.get(tag)
    if value is None or value == "":
        groups = [*(header.get("SharedFunctionalGroupsSequence") or ())]
        groups += list(header.get("PerFrameFunctionalGroupsSequence") or ())[:1]
        macros = (element.value[0] for group in groups for element in group if element.VR == "SQ" and element.value)
        value = next((macro.get(tag) for macro in macros if macro.get(tag) not in (None, "")), None)
    if value is None:
        return ()
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(str(part).strip() for part in parts)


def _age_years(header: Dataset) -> float | None:
    """Give the age in years from PatientAge, else from birth date and the date of acquisition or study."""
    text = str(header.get("PatientAge") or "").strip().upper()
    if len(text) >= 2 and text[-1] in AGE_UNITS and text[:-1].isdigit():
        return int(text[:-1]) * AGE_UNITS[text[-1]]
    born = _date(header.get("PatientBirthDate"))
    keys = ("AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate")
    seen = next((found for key in keys if (found := _date(header.get(key))) is not None), None)
    if born is None or seen is None or seen < born:
        return None
    return seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))


def _date(value: Any) -> date | None:
    try:
        return datetime.strptime(str(value or "").strip()[:8], "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _once(reasons: list[Reason]) -> list[Reason]:
    """Drop later reasons of a code already named, keeping the order of the rules."""
    return list({reason.code: reason for reason in reversed(reasons)}.values())[::-1]
