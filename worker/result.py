"""`result.json`, schema 1: what one analysis says, as frozen values.

Everything that people, viewers and alerts are told comes from here. NaN and infinity never enter; the JSON Schema
beside this module is the contract and every reading is checked against it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from jsonschema import Draft202012Validator

from ichor.errors import PermanentError
from worker.change import Change, change_since
from worker.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.findings import Coverage, Finding, FindingPart, Laterality, Measurement, PointMm

Status = Literal["analysed", "not_analysed", "failed"]
Conclusion = Literal["suspected", "none_marked"]

SCHEMA_VERSION = 1
TIMES = ("written_at", "scanned_at", "prior_scanned_at")
ALERT_MIN_VOLUME_ML = 0.5
"""Total haemorrhage below which no alert is due, where no channel says otherwise."""


class ResultInvalid(PermanentError):
    """The result does not follow schema 1."""

    code = "result_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultModel:
    """Which model spoke, and how it was run."""

    name: str
    version: str
    digest: str
    members: int
    precision: str
    device: str
    fallbacks: tuple[str, ...] = ()
    """What was given up since memory was short, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCoverage:
    """How much of the head the scan holds; heights along the plane normal, in mm, patient coordinates."""

    whole_head: bool
    lowest_mm: float
    highest_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPart:
    """One connected part of a finding, by its unclipped voxels; distances in mm to the skull and the midline plane."""

    volume_ml: float
    median_hu: float
    share_above_100_hu: float
    skull_mm: float | None
    falx_mm: float | None
    members_agreeing: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFinding:
    """One marked label; the volume range is the smallest and largest of the members' own volumes."""

    label: str
    title: str
    haemorrhage: bool
    volume_ml: float
    volume_range_ml: tuple[float, float]
    laterality: Laterality
    touches_edge: bool
    components: int
    long_axis_mm: float
    short_axis_mm: float
    abc2_ml: float | None
    median_hu: float
    share_above_100_hu: float
    bounding_box_lps_mm: tuple[PointMm, PointMm]
    centroid_lps_mm: PointMm
    parts: tuple[ResultPart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """The result that this one supersedes; `total_haemorrhage_ml` is None where it had not been analysed."""

    written_at: datetime
    slices: int
    total_haemorrhage_ml: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisResult:
    """One study's result. `alert` says that the volume reaches the threshold, not that a message was sent."""

    status: Status
    written_at: datetime
    study_instance_uid: str
    series_instance_uid: str | None = None
    series_number: int | None = None
    source_instances: int = 0
    slices: int = 0
    conclusion: Conclusion | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    coverage: ResultCoverage | None = None
    model: ResultModel | None = None
    findings: tuple[ResultFinding, ...] = ()
    total_haemorrhage_ml: float | None = None
    alert: bool = False
    replaces: Replaced | None = None
    scanned_at: datetime | None = None
    """When the last slice was acquired, as the header says."""
    change: Change | None = None
    """Against a prior scan of the same patient."""
    timing_s: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a result that would be read wrongly: a conclusion without an analysis, or the reverse."""
        if self.written_at.tzinfo is None:
            raise ResultInvalid("The time of a result must carry an offset.")
        if (self.status == "analysed") != (self.conclusion is not None):
            raise ResultInvalid(f"A result that is {self.status} cannot conclude {self.conclusion}.")
        if self.status != "analysed" and not self.reasons:
            raise ResultInvalid(f"A result that is {self.status} must say why.")

    @property
    def haemorrhages(self) -> tuple[ResultFinding, ...]:
        """The findings that count as haemorrhage."""
        return tuple(finding for finding in self.findings if finding.haemorrhage)

    def with_outputs(self, outputs: Mapping[str, str]) -> AnalysisResult:
        """Return the same result, naming the files that were written."""
        return replace(self, outputs=dict(outputs))

    def to_json(self) -> str:
        """Return the text of `result.json`; raise ResultInvalid where a number is not finite."""
        plain = _with_texts({"schema": SCHEMA_VERSION, **asdict(self)})
        try:
            text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        except ValueError as error:
            raise ResultInvalid("A number of the result is not finite.") from error
        _check(json.loads(text))
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> AnalysisResult:
        """Read `result.json`; raise ResultInvalid where it does not follow schema 1."""
        try:
            plain = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ResultInvalid(f"The result is not JSON: {error}.") from error
        _check(plain)
        del plain["schema"]
        plain["reasons"] = tuple(Reason(**item) for item in plain["reasons"])
        plain["warnings"] = tuple(Reason(**item) for item in plain["warnings"])
        plain["findings"] = tuple(_finding_from_plain(item) for item in plain["findings"])
        if plain["coverage"] is not None:
            plain["coverage"] = ResultCoverage(**plain["coverage"])
        if plain["model"] is not None:
            plain["model"] = ResultModel(**{**plain["model"], "fallbacks": tuple(plain["model"].get("fallbacks", ()))})
        if plain["replaces"] is not None:
            plain["replaces"] = Replaced(**_with_times(plain["replaces"]))
        if plain.get("change") is not None:
            plain["change"] = Change(**_with_times(plain["change"]))
        return cls(**_with_times(plain))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSource:
    """Which study and series a result speaks of."""

    study_instance_uid: str
    series_instance_uid: str | None
    series_number: int | None
    source_instances: int
    slices: int


def analysed(  # noqa: PLR0913 - each argument is one section of the result
    source: ResultSource,
    measurement: Measurement,
    model: ResultModel,
    *,
    written_at: datetime,
    warnings: tuple[Reason, ...] = (),
    replaces: AnalysisResult | None = None,
    scanned_at: datetime | None = None,
    priors: tuple[AnalysisResult, ...] = (),
    timing_s: Mapping[str, float] | None = None,
    alert_min_volume_ml: float = ALERT_MIN_VOLUME_ML,
) -> AnalysisResult:
    """Build the result of an analysis; the measurement's warnings are joined, each code and text once.

    `priors` are earlier results of the same patient, the latest first; what changed is said against the first that can
    be compared with.
    """
    findings = tuple(_finding(found) for found in measurement.findings)
    suspected = any(found.haemorrhage for found in findings)
    total_ml = _rounded(measurement.total_haemorrhage_ml)
    result = AnalysisResult(
        status="analysed",
        written_at=written_at,
        conclusion="suspected" if suspected else "none_marked",
        warnings=_sentences((*warnings, *measurement.warnings)),
        coverage=_coverage(measurement.coverage),
        model=model,
        findings=findings,
        total_haemorrhage_ml=total_ml,
        alert=suspected and total_ml >= alert_min_volume_ml,
        replaces=_replaced(replaces),
        scanned_at=scanned_at,
        timing_s={} if timing_s is None else dict(timing_s),
        **asdict(source),
    )
    changes = (change_since(prior, result) for prior in priors)
    return replace(result, change=next((change for change in changes if change is not None), None))


def not_analysed(  # noqa: PLR0913 - each argument is one section of the result
    source: ResultSource,
    reasons: tuple[Reason, ...],
    *,
    written_at: datetime,
    status: Literal["not_analysed", "failed"] = "not_analysed",
    warnings: tuple[Reason, ...] = (),
    replaces: AnalysisResult | None = None,
    scanned_at: datetime | None = None,
    timing_s: Mapping[str, float] | None = None,
) -> AnalysisResult:
    """Build the result of a study that was not analysed, or whose analysis failed."""
    return AnalysisResult(
        status=status,
        written_at=written_at,
        reasons=reasons,
        warnings=_sentences(warnings),
        replaces=_replaced(replaces),
        scanned_at=scanned_at,
        timing_s={} if timing_s is None else dict(timing_s),
        **asdict(source),
    )


def _sentences(warnings: Iterable[Reason]) -> tuple[Reason, ...]:
    """Give each warning once, as a sentence; reasons stay phrases, for they stand inside one."""
    return tuple(dict.fromkeys(warning.as_sentence() for warning in warnings))


@lru_cache(maxsize=1)
def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of `result.json`, as shipped."""
    schema: dict[str, Any] = json.loads(files("worker").joinpath("result.schema.json").read_text(encoding="utf-8"))
    return schema


def _check(plain: Any) -> None:
    fault = next(Draft202012Validator(result_schema()).iter_errors(plain), None)
    if fault is not None:
        raise ResultInvalid(f"The result does not follow schema 1 at {fault.json_path}: {fault.message}.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _replaced(previous: AnalysisResult | None) -> Replaced | None:
    if previous is None:
        return None
    return Replaced(
        written_at=previous.written_at,
        slices=previous.slices,
        total_haemorrhage_ml=previous.total_haemorrhage_ml,
    )


def _with_times(plain: dict[str, Any]) -> dict[str, Any]:
    """Turn the texts of points in time into these."""
    times = {key: datetime.fromisoformat(plain[key]) for key in TIMES if plain.get(key) is not None}
    return {**plain, **times}


def _with_texts(plain: Any) -> Any:
    """Turn points in time into texts, throughout."""
    if isinstance(plain, dict):
        return {key: _with_texts(value) for key, value in plain.items()}
    return plain.isoformat() if isinstance(plain, datetime) else plain


def _coverage(coverage: Coverage) -> ResultCoverage:
    return ResultCoverage(
        whole_head=bool(coverage.whole_head),
        lowest_mm=_rounded(coverage.lowest_mm, 2),
        highest_mm=_rounded(coverage.highest_mm, 2),
    )


def _finding(found: Finding) -> ResultFinding:
    low, high = found.bounding_box_lps_mm
    least, most = found.volume_range_ml
    return ResultFinding(
        label=found.label,
        title=found.title,
        haemorrhage=bool(found.haemorrhage),
        volume_ml=_rounded(found.volume_ml),
        volume_range_ml=(_rounded(least), _rounded(most)),
        laterality=found.laterality,
        touches_edge=bool(found.touches_edge),
        components=int(found.components),
        long_axis_mm=_rounded(found.long_axis_mm, 2),
        short_axis_mm=_rounded(found.short_axis_mm, 2),
        abc2_ml=None if found.abc2_ml is None else _rounded(found.abc2_ml),
        median_hu=_rounded(found.median_hu, 2),
        share_above_100_hu=_rounded(found.share_above_100_hu, 4),
        bounding_box_lps_mm=(_point(low), _point(high)),
        centroid_lps_mm=_point(found.centroid_lps_mm),
        parts=tuple(_part(part) for part in found.parts),
    )


def _part(part: FindingPart) -> ResultPart:
    return ResultPart(
        volume_ml=_rounded(part.volume_ml),
        median_hu=_rounded(part.median_hu, 2),
        share_above_100_hu=_rounded(part.share_above_100_hu, 4),
        skull_mm=None if part.skull_mm is None else _rounded(part.skull_mm, 1),
        falx_mm=None if part.falx_mm is None else _rounded(part.falx_mm, 1),
        members_agreeing=part.members_agreeing,
    )


def _finding_from_plain(item: dict[str, Any]) -> ResultFinding:
    low, high = item["bounding_box_lps_mm"]
    least, most = item["volume_range_ml"]
    return ResultFinding(
        **{
            **item,
            "bounding_box_lps_mm": (_point(low), _point(high)),
            "volume_range_ml": (least, most),
            "centroid_lps_mm": _point(item["centroid_lps_mm"]),
            "parts": tuple(ResultPart(**part) for part in item.get("parts", ())),
        },
    )


def _point(point: Any) -> PointMm:
    x, y, z = point
    return (_rounded(x, 2), _rounded(y, 2), _rounded(z, 2))


def _rounded(value: float, digits: int = 3) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ResultInvalid("A number of the result is not finite.")
    return round(number, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
