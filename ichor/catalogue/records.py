"""Frozen values that go into and come out of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

Queue = Literal["analyse", "deliver"]
JobKind = Literal["analyse", "deliver", "alert", "notice"]
JobState = Literal["ready", "running", "done", "failed", "superseded"]
StudyState = Literal["receiving", "ready", "queued", "running", "analysed", "not_analysed", "failed"]
SeriesState = Literal["receiving", "settled"]
ResultStatus = Literal["analysed", "not_analysed", "failed"]
DeliveryState = Literal["held", "pending", "sent", "confirmed", "failed", "withdrawn"]
ObjectState = Literal["pending", "sent", "confirmed", "failed"]
AlertState = Literal["held", "pending", "sent", "acknowledged", "escalated", "withdrawn", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedInstance:
    """One instance as it lies in the spool."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    path: Path
    received_at: datetime
    calling_ae: str
    series_number: int | None
    series_description: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_description: str
    channel: str = "dimse"
    """How it came: `dimse` and `stow` are routed, `pull` was fetched."""
    identity: str = ""
    """Digest over patient, order and study, as its header says; empty where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownInstance:
    """What the catalogue holds under a SOP Instance UID now."""

    sha256: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One instance that belongs to the present input of a study."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    path: Path
    received_at: datetime
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInput:
    """What there is to analyse of a study, and its version: a result of it covers this version."""

    study_instance_uid: str
    input_version: int
    instances: tuple[InstanceRow, ...]
    first_received_at: datetime
    last_received_at: datetime
    calling_ae: str
    released: frozenset[str] = frozenset()
    """Series among the instances that have not settled, and whose association was released."""
    routed: bool = True
    """Whether any image was sent to us; a study that was only fetched calls nobody."""
    outdated: int = 0
    """How many images were left out because they still name the patient or order that a correction has replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One claimed piece of work."""

    id: int
    queue: Queue
    kind: JobKind
    study_instance_uid: str
    subject_id: int | None
    """The delivery's or alert's id; None for an analysis."""
    final: bool
    """Analysis: the study is quiet, so "not analysed" may be said."""
    force: bool
    attempt: int
    """Which claim this is, from 1."""
    priority: int
    created_at: datetime
    lease_owner: str

    def log_context(self) -> dict[str, Any]:
        """Return what log lines about this job carry; no UIDs."""
        return {"job_id": self.id, "queue": self.queue, "kind": self.kind, "attempt": self.attempt}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as the study's page shows it."""

    id: int
    queue: str
    kind: str
    subject_id: int | None
    state: str
    final: bool
    force: bool
    attempt: int
    priority: int
    created_at: datetime
    not_before: datetime
    finished_at: datetime | None
    error_code: str
    error_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A study as the worklist shows it, with its latest result."""

    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_description: str
    calling_ae: str
    state: str
    input_version: int
    series_count: int
    instance_count: int
    first_received_at: datetime
    last_received_at: datetime
    updated_at: datetime
    result_id: int | None
    result_status: str | None
    conclusion: str | None
    total_haemorrhage_ml: float | None
    provisional: bool
    delivery_states: tuple[str, ...]
    """Of every result that stands, as are those of the alerts."""
    alert_states: tuple[str, ...]
    other_suspected_ml: float | None = None
    """The largest total of another scan's result that stands and suspects haemorrhage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A series as the study's page shows it."""

    series_instance_uid: str
    series_number: int | None
    series_description: str
    modality: str
    state: str
    instance_count: int
    last_received_at: datetime
    settled_at: datetime | None
    verdict: Mapping[str, Any] | None
    """What the gate said last: `analysed`, and `reasons` with code and text; None: it was not judged yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesVerdict:
    """Whether a series was analysed, and why not: pairs of code and sentence."""

    series_instance_uid: str
    analysed: bool
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """An object that was written for a result."""

    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A destination that is to get the objects of these kinds."""

    destination: str
    kinds: tuple[str, ...]
    sop_instance_uids: frozenset[str] | None = None
    """Which of them, where a kind was written in several variants; None: all."""
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlert:
    """A message that is to go out on a channel."""

    channel: str
    alert_uid: str
    event: str
    body: bytes
    provisional: bool = False
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewResult:
    """A finished result whose files are on the disk."""

    result_uid: str
    identity_digest: str
    study_instance_uid: str
    job_id: int | None
    input_version: int
    """The version of `StudyInput` it was made from."""
    status: ResultStatus
    conclusion: Literal["suspected", "none_marked"] | None
    summary_json: str
    """The text of result.json."""
    directory: Path
    model_digest: str
    provisional: bool
    supersedes_id: int | None
    identity: str = ""
    """Digest of the patient and order in whose name it speaks; empty where it withdraws one."""
    objects: tuple[NewObject, ...]
    deliveries: tuple[NewDelivery, ...]
    alerts: tuple[NewAlert, ...]
    acquired_at: datetime | None = None
    """When the acquisition that it speaks of ended; None: it speaks of the study, or no image says its time."""
    also_supersedes: tuple[int, ...] = ()
    """Further results that it takes the place of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """A written object."""

    id: int
    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A recorded result."""

    id: int
    result_uid: str
    identity_digest: str
    study_instance_uid: str
    status: str
    conclusion: str | None
    total_haemorrhage_ml: float | None
    summary_json: str
    directory: Path
    model_digest: str
    provisional: bool
    input_version: int
    identity: str
    supersedes_id: int | None
    superseded_by_id: int | None
    created_at: datetime
    acquired_at: datetime | None
    objects: tuple[ObjectRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryObjectRow:
    """One object on its way to one destination."""

    object_id: int
    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    sha256: str
    state: str
    status_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One result on its way to one destination."""

    id: int
    result_id: int
    study_instance_uid: str
    destination: str
    state: str
    error: str
    created_at: datetime
    updated_at: datetime
    objects: tuple[DeliveryObjectRow, ...]

    @property
    def refused(self) -> tuple[DeliveryObjectRow, ...]:
        """What the peer did not take."""
        return tuple(item for item in self.objects if item.state == "failed")

    @property
    def resendable(self) -> bool:
        """Whether sending again could bring something: it ended, and the peer lacks a part or all of it."""
        return self.state == "failed" or (self.state in {"confirmed", "sent"} and bool(self.refused))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One message on its way to one channel."""

    id: int
    result_id: int
    study_instance_uid: str
    channel: str
    alert_uid: str
    event: str
    provisional: bool
    body: bytes
    state: str
    error: str
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One transition in a study's timeline."""

    id: int
    at: datetime
    subject: str
    """study, series, job, result, delivery or alert."""
    subject_key: str
    name: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatRow:
    """A process that said it lives."""

    name: str
    kind: str
    started_at: datetime
    seen_at: datetime
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDetail:
    """Everything the catalogue knows about one study."""

    study: StudyRow
    series: tuple[SeriesRow, ...]
    results: tuple[ResultRow, ...]
    deliveries: tuple[DeliveryRow, ...]
    alerts: tuple[AlertRow, ...]
    jobs: tuple[JobRow, ...]
    events: tuple[EventRow, ...]
