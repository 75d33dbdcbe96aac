"""The tables of the catalogue.

The database itself refuses what must never be: two running analyses of one study, two results of one identity, two
current versions of one SOP Instance UID. Times are aware and in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime; SQLite keeps it as text in UTC, which sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, and turn the others to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the catalogue")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give back an aware time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Key = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself in SQLite
Uid = String(64)  # PS3.5 Table 6.2-1, VR UI


class Base(DeclarativeBase):
    """Base of every table; constraints have names, so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON}  # noqa: RUF012  # SQLAlchemy reads it so


OPEN_STUDY = text("closed_version < input_version")


class Study(Base):
    """A study; its counts stand here so that the worklist never counts instances."""

    __tablename__ = "study"
    __table_args__ = (
        Index(None, "last_received_at", "id"),
        Index(None, "patient_id"),
        Index("ix_study_open", "last_received_at", sqlite_where=OPEN_STUDY, postgresql_where=OPEN_STUDY),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(Uid, unique=True)
    patient_id: Mapped[str] = mapped_column(Text)
    patient_name: Mapped[str] = mapped_column(Text)
    accession_number: Mapped[str] = mapped_column(Text)
    study_date: Mapped[str] = mapped_column(Text)
    study_description: Mapped[str] = mapped_column(Text)
    calling_ae: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    input_version: Mapped[int] = mapped_column(default=0)
    """Rises with every batch that brings an image not held before; a result covers one version."""
    closed_version: Mapped[int] = mapped_column(default=0)
    """The highest version that a published result covers, or that a closing job was made for."""
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    """The least priority of every job about the study; 0 is routine."""
    early_version: Mapped[int] = mapped_column(default=0, server_default="0")
    """The highest version that an early look was asked for."""
    series_count: Mapped[int] = mapped_column(default=0)
    instance_count: Mapped[int] = mapped_column(default=0)
    first_received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    latest_result_id: Mapped[int | None] = mapped_column(Key)


class Series(Base):
    """A series of a study; a series UID that two studies use makes two rows."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("study_id", "series_instance_uid"), Index(None, "state", "last_received_at"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    series_instance_uid: Mapped[str] = mapped_column(Uid)
    series_number: Mapped[int | None]
    series_description: Mapped[str] = mapped_column(Text)
    modality: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    has_images: Mapped[bool] = mapped_column(default=False)
    """True where the series holds images that can be analysed."""
    source_count: Mapped[int | None]
    """How many instances the source says that it has; None where nobody was asked or nobody knows."""
    instance_count: Mapped[int] = mapped_column(default=0)
    last_received_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    """When the association that brought the last slices was released; older than the last slice, it counts no more."""
    verdict: Mapped[dict[str, Any] | None]
    """What the gate said last: `analysed`, and `reasons` with code and text where it was not."""
    study: Mapped[Study] = relationship()


class Instance(Base):
    """One content of one instance; a correction makes a second row and supersedes the first."""

    __tablename__ = "instance"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "sha256"),
        Index(
            "uq_instance_current",
            "sop_instance_uid",
            unique=True,
            sqlite_where=text("superseded_at IS NULL"),
            postgresql_where=text("superseded_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(Uid)
    sop_class_uid: Mapped[str] = mapped_column(Uid)
    transfer_syntax_uid: Mapped[str] = mapped_column(Uid)
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]
    calling_ae: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(String(16), default="dimse", server_default="dimse")
    identity: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """Digest over patient and order as the header names them; another one under the same pixels is a correction."""
    superseded_at: Mapped[datetime | None]
    series: Mapped[Series] = relationship()


RUNNING_ANALYSIS = text("queue = 'analyse' AND state = 'running'")
READY_ANALYSIS = text("queue = 'analyse' AND state = 'ready'")


class JobEntry(Base):
    """Something to do; who does it holds a lease."""

    __tablename__ = "job"
    __table_args__ = (
        Index(None, "queue", "state", "rank", "id"),
        Index(
            "uq_job_running_analysis",
            "study_id",
            unique=True,
            sqlite_where=RUNNING_ANALYSIS,
            postgresql_where=RUNNING_ANALYSIS,
        ),
        Index(
            "uq_job_ready_analysis",
            "study_id",
            unique=True,
            sqlite_where=READY_ANALYSIS,
            postgresql_where=READY_ANALYSIS,
        ),
        Index(None, "kind", "subject_id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    queue: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    subject_id: Mapped[int | None] = mapped_column(Key)
    final: Mapped[bool] = mapped_column(default=False)
    force: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(16), default="ready")
    rank: Mapped[int] = mapped_column(default=0)
    """Minus the priority: so one plain index gives the most urgent first, then the oldest."""
    attempt: Mapped[int] = mapped_column(default=0)
    """How often it was claimed."""
    expiries: Mapped[int] = mapped_column(default=0)
    """How often a lease on it expired: the measure of work that kills its worker."""
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    lease_owner: Mapped[str | None] = mapped_column(Text)
    lease_expires_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error_code: Mapped[str] = mapped_column(Text, default="")
    error_text: Mapped[str] = mapped_column(Text, default="")
    study: Mapped[Study] = relationship()


class Result(Base):
    """A finished result; its files lie in `directory`."""

    __tablename__ = "result"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    result_uid: Mapped[str] = mapped_column(Uid, unique=True)
    identity_digest: Mapped[str] = mapped_column(String(64), unique=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    input_version: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    conclusion: Mapped[str | None] = mapped_column(String(16))
    total_haemorrhage_ml: Mapped[float | None]
    acquired_at: Mapped[datetime | None]
    """When the acquisition that it speaks of ended; None: it speaks of the study, or no image says its time."""
    summary_json: Mapped[str] = mapped_column(Text)
    directory: Mapped[str] = mapped_column(Text)
    model_digest: Mapped[str] = mapped_column(Text)
    provisional: Mapped[bool] = mapped_column(default=False)
    identity: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """In whose name it speaks: that of the images it was made from."""
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("result.id"))
    superseded_by_id: Mapped[int | None] = mapped_column(ForeignKey("result.id"))
    created_at: Mapped[datetime]
    study: Mapped[Study] = relationship()
    objects: Mapped[list[ResultObject]] = relationship(order_by="ResultObject.id", lazy="selectin")


class ResultObject(Base):
    """An object that was written once and is sent as it is."""

    __tablename__ = "result_object"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("result.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    sop_instance_uid: Mapped[str] = mapped_column(Uid, unique=True)
    sop_class_uid: Mapped[str] = mapped_column(Uid)
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))


class Delivery(Base):
    """One result on its way to one destination."""

    __tablename__ = "delivery"
    __table_args__ = (UniqueConstraint("result_id", "destination"), Index(None, "state"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("result.id"))
    destination: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    result: Mapped[Result] = relationship()
    objects: Mapped[list[DeliveryObject]] = relationship(order_by="DeliveryObject.object_id", lazy="selectin")


class DeliveryObject(Base):
    """One object of a delivery."""

    __tablename__ = "delivery_object"

    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"), primary_key=True)
    object_id: Mapped[int] = mapped_column(ForeignKey("result_object.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    status_code: Mapped[int | None]
    updated_at: Mapped[datetime]
    object: Mapped[ResultObject] = relationship(lazy="joined")


class Commitment(Base):
    """A request for storage commitment, and its answer: `committed` UIDs, and `failed` ones with their reasons."""

    __tablename__ = "commitment"

    transaction_uid: Mapped[str] = mapped_column(Uid, primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"), index=True)
    requested_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    answer: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Pledge(Base):
    """A sender's request that the node answer for instances; open until the sender has heard the answer."""

    __tablename__ = "pledge"
    __table_args__ = (UniqueConstraint("transaction_uid", "calling_ae"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    transaction_uid: Mapped[str] = mapped_column(Uid)
    calling_ae: Mapped[str] = mapped_column(Text)
    called_ae: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    wanted: Mapped[list[list[str]]] = mapped_column(JSON)
    attempts: Mapped[int]
    requested_at: Mapped[datetime]
    due_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Alert(Base):
    """One message on its way to one channel, until a person has read it."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("result_id", "channel", "event", "provisional"),
        Index(None, "state"),
        Index(None, "alert_uid"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("result.id"))
    channel: Mapped[str] = mapped_column(Text)
    alert_uid: Mapped[str] = mapped_column(Text)
    event: Mapped[str] = mapped_column(String(32))
    provisional: Mapped[bool] = mapped_column(default=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str] = mapped_column(Text, default="")
    escalated_at: Mapped[datetime | None]
    result: Mapped[Result] = relationship()


class Notice(Base):
    """One message about a study to one administrator channel."""

    __tablename__ = "notice"
    __table_args__ = (UniqueConstraint("study_id", "channel", "kind", "input_version"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    channel: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    input_version: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ReleasedName(Base):
    """A destination or channel for which nothing is held back any more."""

    __tablename__ = "released_name"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    released_at: Mapped[datetime]


class Event(Base):
    """One transition, kept for ever."""

    __tablename__ = "event"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    subject: Mapped[str] = mapped_column(String(16))
    subject_key: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]]


class Beat(Base):
    """When a process last said that it lives."""

    __tablename__ = "beat"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    detail: Mapped[dict[str, Any]]
