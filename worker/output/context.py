"""Everything that the writers need for one result, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.output.attributes import StudyAttributes
from worker.output.profile import Profile

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt
    from pydicom import Dataset

    from ichor.identity import ResultIdentity
    from models.segmenter import Plan
    from models.spec import LabelSpec, ModelSpec
    from worker.findings import Finding, Measurement
    from worker.output.predecessor import Predecessor, ReplacedObject
    from worker.result import AnalysisResult
    from worker.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteContext:
    """One result and what it was made from; without a volume only the summary and `result.json` can be written."""

    identity: ResultIdentity
    result: AnalysisResult
    source: tuple[Dataset, ...]
    """Header of each source instance, without pixel data."""
    written_at: datetime
    """Aware; its own offset is the local time of the objects, unless the source states one."""
    volume: Volume | None = None
    labels_kji: npt.NDArray[np.uint8] | None = None
    """On the volume's slices; values are the indices of the spec's labels, 0 is background."""
    spec: ModelSpec | None = None
    plan: Plan | None = None
    measurement: Measurement | None = None
    profile: Profile = field(default_factory=Profile)
    predecessors: tuple[Predecessor, ...] = ()
    """What this result replaces."""

    @property
    def attributes(self) -> StudyAttributes:
        """The attributes that every object takes over, from the first source header."""
        return StudyAttributes.of(self.source[0])

    @property
    def local_time(self) -> datetime:
        """The time of writing on the clock of the source (PS3.3 C.12.1.1.8), else on its own."""
        zone = self.attributes.time_zone if self.source else None
        return self.written_at if zone is None else self.written_at.astimezone(zone)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was marked, in the order of the model's labels."""
        return () if self.measurement is None else self.measurement.findings

    @property
    def replaced_objects(self) -> tuple[ReplacedObject, ...]:
        """What was written under this profile for the results that this one replaces."""
        return tuple(one for before in self.predecessors for one in before.objects(self.profile.variant))

    def label_of(self, finding: Finding) -> LabelSpec:
        """Return the spec of a finding's label."""
        if self.spec is None:
            raise ValueError("Findings need the model's spec.")
        return self.spec.label(finding.label)

    def tracking_id(self, finding: Finding) -> str:
        """Name one finding for SEG and reports alike (TrackingID)."""
        return f"Ichor {finding.label}"

    def tracking_uid(self, finding: Finding) -> str:
        """Identify one finding across SEG and reports (TrackingUID)."""
        return self.identity.uid(f"tracking-{finding.label}")
