"""The tables of the settings file: one frozen class each, with the unit in the name and the reason beside a default."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag, field_validator, model_validator

ResultKind = Literal["seg", "sr", "sr-record", "summary", "rejection"]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[^\\\x00-\x1f]+$")]  # PS3.5 6.2, VR AE
ANY_AE_TITLE = "*"
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
MailAddress = Annotated[str, Field(pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")]


class Section(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")


class CallerSettings(Section):
    """Who may call the DIMSE listener, and on what terms."""

    ae_title: AeTitle = ANY_AE_TITLE
    networks: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=LOOPBACK_NETWORKS, min_length=1)
    called_ae_titles: tuple[AeTitle, ...] = ()  # none: whatever it calls us
    tls: bool = False
    commitment: bool = True
    host: str = ""  # "": commitment is answered on the association that asked, and nowhere else
    port: Port = 104  # IANA, `acr-nema`

    @field_validator("networks")
    @classmethod
    def _networks_are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)  # its ValueError says what is wrong
        return networks

    @property
    def ip_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks that it may call from."""
        return tuple(ip_network(network) for network in self.networks)


class CertificateSection(Section):
    """Who signs a peer's certificate, and what we show it, as PEM files."""

    ca_certificates: Path | None = None  # None: what this system trusts
    client_certificate: Path | None = None
    client_key: Path | None = None


class TlsSection(CertificateSection):
    """A peer that is spoken to over TLS where that is asked for."""

    tls: bool = False
    tls_name: str = ""  # "": the host, as the peer's certificate names it

    @model_validator(mode="after")
    def _certificates_are_for_tls(self) -> Self:
        if not self.tls and (self.tls_name or self.ca_certificates or self.client_certificate or self.client_key):
            raise ValueError("certificates are given and tls is not true: nothing would be encrypted")
        return self


class DicomTlsSettings(Section):
    """The second port of the DIMSE listener, with TLS; without a certificate there is none."""

    port: Port = 2762  # IANA, `dicom-tls`
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None  # set: only callers with a certificate that it signed

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.certificate is None and (self.key is not None or self.client_ca is not None):
            raise ValueError("key and client_ca are of use only with a certificate")
        return self


class DicomSettings(Section):
    """The DIMSE listener."""

    ae_title: AeTitle = "ICHOR"
    host: str = "127.0.0.1"
    port: Port = 11112  # IANA, `dicom`
    callers: tuple[CallerSettings, ...] = (CallerSettings(),)
    tls: DicomTlsSettings = DicomTlsSettings()
    processes: int = Field(default=0, ge=0, le=64)  # 0: one per core, four at most
    max_associations: int = Field(default=32, ge=1)
    idle_timeout_s: Seconds = 60.0
    artim_timeout_s: Seconds = 30.0  # PS3.8 9.1.5: the requestor has this long to ask for an association
    max_pdu_bytes: int = Field(default=262144, ge=4096)  # large PDUs halve the cost of receiving a slice
    called_ae_check: bool = False


class HttpSettings(Section):
    """The web server."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str = Field(default="", pattern=r"^(https?://[^\s]+)?$")  # "": host and port
    certificate: Path | None = None  # None: HTTP without TLS
    certificate_key: Path | None = None  # None: in the certificate's file
    stow_tokens: tuple[SecretStr, ...] = ()  # none: whoever reaches the port may send
    stow_max_gb: float = Field(default=8.0, gt=0)

    @field_validator("stow_tokens", mode="before")
    @classmethod
    def _one_token_a_line(cls, tokens: Any) -> Any:
        """Take the content of a file, one token a line."""
        return tokens.split() if isinstance(tokens, str) else tokens


class UserSettings(Section):
    """Somebody who may acknowledge alerts and ask for something again."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^\S(.*\S)?$")
    password_hash: SecretStr


class AnalysisSettings(Section):
    """Which model looks, and how."""

    model: Name = "blast-ct-v1"
    members: int = Field(default=12, ge=1)
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = Field(default=0, ge=0)  # 0: as many as there are cores


class CompletenessSettings(Section):
    """When a series, and a study, counts as complete."""

    settle_s: Seconds = 20.0
    study_settle_s: Seconds = 120.0


class JobSettings(Section):
    """Leases, retries and the reconciler."""

    lease_ttl_s: float = Field(default=20.0, gt=0)
    heartbeat_s: float = Field(default=5.0, gt=0)
    max_attempts: int = Field(default=5, ge=1)
    backoff_base_s: Seconds = 2.0
    backoff_max_s: Seconds = 300.0
    reconcile_s: float = Field(default=2.0, gt=0)
    routine_wait_s: Seconds = 600.0  # beyond it, every fifth job is the one that waits longest

    @model_validator(mode="after")
    def _beats_within_lease(self) -> Self:
        if self.heartbeat_s * 2 > self.lease_ttl_s:
            raise ValueError("heartbeat_s must be at most half of lease_ttl_s, or one lost beat loses the job")
        return self


class DeliverySettings(Section):
    """Whether results leave the node, and how long a proof of arrival may take."""

    hold: bool = True
    confirm_timeout_s: Seconds = 60.0


class DiskSettings(Section):
    """Limits on the disk below `data_dir`."""

    min_free_gb: float = Field(default=1.0, ge=0)
    low_free_gb: float = Field(default=2.0, ge=0)  # above min_free_gb: what is under way may still be finished


class RetentionSettings(Section):
    """How long files of studies stay that are done with."""

    confirmed_days: float = Field(default=30.0, ge=0)
    not_analysed_days: float = Field(default=30.0, ge=0)
    failed_days: float = Field(default=90.0, ge=0)
    quarantine_days: float = Field(default=90.0, ge=0)
    quarantine_gb: float = Field(default=5.0, ge=0)
    every_s: float = Field(default=60.0, gt=0)


class WorklistSettings(TlsSection):
    """The modality worklist that knows what was ordered as urgent."""

    host: str = ""  # "": none is asked
    port: Port = 104
    ae_title: AeTitle = "WORKLIST"
    timeout_s: float = Field(default=10.0, gt=0)


class LaneSettings(Section):
    """What goes first."""

    stat_callers: tuple[AeTitle, ...] = ()
    stat_words: tuple[str, ...] = ()
    worklist: WorklistSettings = WorklistSettings()


class WatchSettings(Section):
    """When silence is a fault."""

    unresolved_after_min: float = Field(default=30.0, gt=0)  # far beyond any analysis, well within a shift


class ObjectDestination(Section):
    """What every destination that takes DICOM objects may ask of them."""

    name: Name
    send: tuple[ResultKind, ...] = ("seg", "sr", "summary")
    seg_encoding: Literal["binary", "labelmap"] = "binary"  # few viewers and validators know LABELMAP yet
    seg_empty_frames: bool = False
    series_description: str = Field(default="AI ICH (RESEARCH) - NOT REVIEWED", max_length=64)  # PS3.5 6.2, VR LO
    series_number: int = Field(default=99001, ge=1, le=2**31 - 10)  # PS3.5 6.2, VR IS; high: behind what was acquired
    summary_modality: str = Field(default="OT", pattern=r"^[A-Z0-9_ ]{1,16}$")  # PS3.5 6.2, VR CS
    institution_name: str = Field(default="", max_length=64, pattern=r"^[ -\[\]-~]*$")  # VR LO; ASCII, no backslash
    private_tags: bool = False

    @model_validator(mode="after")
    def _says_what_it_is(self) -> Self:
        text = self.series_description
        if "RESEARCH" not in text.upper() or "NOT REVIEWED" not in text.upper():
            raise ValueError("series_description must hold the words RESEARCH and NOT REVIEWED")
        if not text.isascii() or not text.isprintable() or "\\" in text:
            raise ValueError("series_description must be plain ASCII without a backslash")
        return self


class DimseDestination(ObjectDestination, TlsSection):
    """A peer that takes results by C-STORE."""

    type: Literal["dimse"] = "dimse"
    host: str
    port: Port = 104
    ae_title: AeTitle
    confirm: Literal["query", "commitment", "none"] = "query"
    timeout_s: float = Field(default=30.0, gt=0)


class DicomwebDestination(ObjectDestination, CertificateSection):
    """A peer that takes results by STOW-RS."""

    type: Literal["dicomweb"] = "dicomweb"
    url: str = Field(pattern=r"^https?://")
    token: SecretStr = SecretStr("")
    confirm: Literal["query", "none"] = "query"
    timeout_s: float = Field(default=30.0, gt=0)


class Hl7Destination(TlsSection):
    """A peer that takes results as HL7 v2.5.1 ORU^R01 messages over MLLP."""

    name: Name
    type: Literal["hl7"] = "hl7"
    host: str
    port: Port = 2575  # IANA, `hl7`
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    priority: bool = False
    timeout_s: float = Field(default=30.0, gt=0)
    send: ClassVar[tuple[ResultKind, ...]] = ("summary",)
    """The message is made from the header of the summary, which every result has, and from `result.json`."""


class DimseSource(Section):
    """An archive that studies are fetched from by C-FIND and C-GET or C-MOVE."""

    name: Name
    type: Literal["dimse"] = "dimse"
    host: str
    port: Port = 104
    ae_title: AeTitle
    retrieve: Literal["get", "move"] = "get"
    counts: bool = False
    timeout_s: float = Field(default=30.0, gt=0)


class DicomwebSource(CertificateSection):
    """An archive that studies are fetched from by QIDO-RS and WADO-RS."""

    name: Name
    type: Literal["dicomweb"] = "dicomweb"
    url: str = Field(pattern=r"^https?://")
    token: SecretStr = SecretStr("")
    counts: bool = False
    timeout_s: float = Field(default=30.0, gt=0)


class AlertChannel(Section):
    """What every way to tell people has in common."""

    name: Name
    role: Literal["finding", "escalation", "administrator"] = "finding"
    min_volume_ml: float = Field(default=0.5, ge=0)
    max_age_h: float = Field(default=4.0, gt=0)
    include: tuple[Literal["accession_number", "study_instance_uid"], ...] = ()
    labels: tuple[str, ...] = ()  # none: whatever counts as haemorrhage
    min_growth_ml: float | None = Field(default=None, gt=0)
    min_growth_percent: float | None = Field(default=None, gt=0)
    hours: str = Field(default="", pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")  # "": always
    weekdays: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    sources: tuple[AeTitle, ...] = ()
    escalate_after_s: float = Field(default=300.0, gt=0)
    escalate_to: tuple[Name, ...] = ()
    timeout_s: float = Field(default=10.0, gt=0)


class WebhookChannel(AlertChannel):
    """A web address that is told of suspected haemorrhage, in signed messages without patient data."""

    type: Literal["webhook"] = "webhook"
    url: str = Field(pattern=r"^https?://")
    secret: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if not self.secret.get_secret_value():
            raise ValueError("secret is empty, and unsigned alerts are refused")
        return self


class SmtpChannel(AlertChannel):
    """Mail addresses that are told, without patient data."""

    type: Literal["smtp"] = "smtp"
    host: str
    port: Port = 25
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    sender: MailAddress
    to: tuple[MailAddress, ...] = Field(min_length=1)
    username: str = ""
    password: SecretStr = SecretStr("")


def channel_type(value: Any) -> str:
    """Return which kind of alert channel an entry describes; where it does not say, a webhook."""
    named = value.get("type", "webhook") if isinstance(value, dict) else getattr(value, "type", "")
    return str(named)


Channel = Annotated[
    Annotated[WebhookChannel, Tag("webhook")] | Annotated[SmtpChannel, Tag("smtp")], Discriminator(channel_type)
]


def destination_type(value: Any) -> str:
    """Return which kind of destination an entry describes; where it does not say, DIMSE."""
    named = value.get("type", "dimse") if isinstance(value, dict) else getattr(value, "type", "")
    return str(named)


Source = Annotated[
    Annotated[DimseSource, Tag("dimse")] | Annotated[DicomwebSource, Tag("dicomweb")], Discriminator(destination_type)
]

Destination = Annotated[
    Annotated[DimseDestination, Tag("dimse")]
    | Annotated[DicomwebDestination, Tag("dicomweb")]
    | Annotated[Hl7Destination, Tag("hl7")],
    Discriminator(destination_type),
]
