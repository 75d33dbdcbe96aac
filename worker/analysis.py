"""What passes between the steps of the pipeline, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from ichor.identity import ResultIdentity
    from models.segmenter import Segmenter
    from worker.acquisitions import Acquisition
    from worker.content import Content
    from worker.findings import Measurement
    from worker.gate import GateRules, Verdict
    from worker.output.predecessor import Predecessor
    from worker.output.profile import Variant
    from worker.output.write import WrittenObject
    from worker.reason import Reason
    from worker.result import AnalysisResult
    from worker.series import Series
    from worker.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What stays the same from study to study."""

    segmenter_for: Callable[[], Segmenter]
    """Gives the loaded model; asked only when a series turned out to be fit."""
    rules: GateRules
    alert_min_volume_ml: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What belongs to this one run."""

    out: Callable[[ResultIdentity], Path]
    """Gives the folder into which the objects of a result are written."""
    now: datetime
    """Aware; the time that stands in the objects."""
    generation: int = 0
    """Raised to get a new result from the same input."""
    find_existing: Callable[[ResultIdentity], AnalysisResult | None] = field(default=lambda _: None)
    """Gives the finished result of an identity, which is then returned instead of computed again."""
    on_progress: Callable[[float], None] | None = None
    """Gets the fraction of the model's work that is done, from 0 to 1; may raise to end the run."""
    previous: AnalysisResult | None = None
    """The result of this study that this one will replace."""
    priors: tuple[AnalysisResult, ...] = ()
    """Results of earlier scans of the same patient, the latest first; the first that can be compared with is."""
    predecessors: tuple[Predecessor, ...] = ()
    """The objects of all results that it will replace."""
    variants: tuple[Variant, ...] = ()
    """What destinations want besides the default objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A series that is fit, read."""

    series: Series
    volume: Volume
    content: Content
    verdicts: tuple[Verdict, ...]
    warnings: tuple[Reason, ...]
    timing_s: Mapping[str, float]
    acquisition: Acquisition
    """Which of the study's acquisitions it is the best series of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no analysis; the reasons are those of the series that came closest."""

    series: Series
    verdicts: tuple[Verdict, ...]
    reasons: tuple[Reason, ...]
    timing_s: Mapping[str, float]
    acquisition: Acquisition | None = None
    """The acquisition that it speaks of; None: the whole study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A result and the files that hold it."""

    study_instance_uid: str
    series_instance_uid: str
    """The series that was analysed, else the one that came closest."""
    verdicts: tuple[Verdict, ...]
    identity: ResultIdentity
    result: AnalysisResult
    measurement: Measurement | None
    objects: tuple[WrittenObject, ...]
    """Empty where an existing result was found."""
    out: Path
    existing: bool
    """Whether a finished result of this identity was found, so that nothing was computed or written."""
    acquired_at: datetime | None
    """When the last slice of the acquisition that it speaks of was acquired; None where it speaks of the study."""
