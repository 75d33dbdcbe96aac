"""What the node can be told: one frozen object, built once in an entry point and passed down.

Values come from one TOML file and from `ICHOR_*` variables, which win. An unknown key anywhere is refused with the
nearest known one. Nothing below the entry points reads the environment. `docs/settings.md` describes every field.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ichor.errors import SettingsError
from ichor.sections import (
    AlertChannel,
    AnalysisSettings,
    CallerSettings,
    Channel,
    CompletenessSettings,
    DeliverySettings,
    Destination,
    DicomSettings,
    DicomwebDestination,
    DicomwebSource,
    DimseDestination,
    DimseSource,
    DiskSettings,
    Hl7Destination,
    HttpSettings,
    JobSettings,
    LaneSettings,
    RetentionSettings,
    SmtpChannel,
    Source,
    UserSettings,
    WatchSettings,
    WebhookChannel,
)

__all__ = [
    "AlertChannel",
    "AnalysisSettings",
    "CallerSettings",
    "Channel",
    "CompletenessSettings",
    "DeliverySettings",
    "Destination",
    "DicomSettings",
    "DicomwebDestination",
    "DicomwebSource",
    "DimseDestination",
    "DimseSource",
    "DiskSettings",
    "Hl7Destination",
    "HttpSettings",
    "JobSettings",
    "LaneSettings",
    "RetentionSettings",
    "Settings",
    "SmtpChannel",
    "Source",
    "UserSettings",
    "WatchSettings",
    "WebhookChannel",
    "load_settings",
]

SOCKET_PATH_MAX_BYTES = 107
"""Longest path of a Unix socket (`sun_path` of sockaddr_un is 108 bytes with its terminating zero)."""


class Settings(BaseSettings):
    """Everything the node can be told."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    data_dir: Path
    models_dir: Path | None = None  # None: below data_dir
    catalogue_url: str = ""  # "": SQLite below data_dir
    redis_url: str = ""  # "": the embedded Redis
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    dicom: DicomSettings = DicomSettings()
    http: HttpSettings = HttpSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    completeness: CompletenessSettings = CompletenessSettings()
    jobs: JobSettings = JobSettings()
    lanes: LaneSettings = LaneSettings()
    delivery: DeliverySettings = DeliverySettings()
    disk: DiskSettings = DiskSettings()
    retention: RetentionSettings = RetentionSettings()
    watch: WatchSettings = WatchSettings()
    destinations: tuple[Destination, ...] = ()
    sources: tuple[Source, ...] = ()
    alerts: tuple[Channel, ...] = ()
    users: tuple[UserSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else: `load_settings` reads file and environment, once."""
        return (init_settings,)

    @field_validator("data_dir", "models_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        for section in ("destinations", "sources", "alerts", "users"):
            names = [entry.name for entry in getattr(self, section)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{section}: the name {twice[0]!r} stands twice")
        return self

    @model_validator(mode="after")
    def _escalations_lead_somewhere(self) -> Self:
        roles = {channel.name: channel.role for channel in self.alerts}
        for channel in self.alerts:
            for name in channel.escalate_to:
                if roles.get(name) != "escalation":
                    raise ValueError(
                        f'alerts: {channel.name} escalates to {name!r}, which is no channel of the role "escalation"'
                    )
        return self

    @property
    def finding_channels(self) -> tuple[Channel, ...]:
        """The channels that are told of a finding first."""
        return tuple(channel for channel in self.alerts if channel.role == "finding")

    @property
    def base_url(self) -> str:
        """Address of the web server as messages name it, without a slash at its end."""
        scheme = "http" if self.http.certificate is None else "https"
        return (self.http.public_url or f"{scheme}://{self.http.host}:{self.http.port}").rstrip("/")

    @property
    def resolved_models_dir(self) -> Path:
        """Folder of the installed models."""
        return self.models_dir if self.models_dir is not None else self.data_dir / "models"

    @property
    def resolved_catalogue_url(self) -> str:
        """SQLAlchemy URL of the catalogue."""
        return self.catalogue_url or f"sqlite:///{self.data_dir / 'catalogue.sqlite'}"

    @property
    def redis_socket(self) -> Path:
        """Unix socket of the embedded Redis.

        Raises:
            SettingsError: the path would be longer than the kernel takes.
        """
        path = self.data_dir / "redis.sock"
        if len(str(path).encode()) > SOCKET_PATH_MAX_BYTES:
            raise SettingsError(
                f"data_dir is too long for the socket of the embedded Redis: {path} has more than "
                f"{SOCKET_PATH_MAX_BYTES} bytes. Use a shorter data_dir, or set redis_url."
            )
        return path

    @property
    def resolved_redis_url(self) -> str:
        """Broker URL as Celery takes it."""
        return self.redis_url or f"redis+socket://{self.redis_socket}"

    @property
    def spool_dir(self) -> Path:
        """Folder of what was received."""
        return self.data_dir / "spool"

    @property
    def results_dir(self) -> Path:
        """Folder of what was written."""
        return self.data_dir / "results"

    @property
    def quarantine_dir(self) -> Path:
        """Folder of what was received and is not usable."""
        return self.data_dir / "quarantine"


ENVIRONMENT_PREFIX = "ICHOR_"
NESTED_DELIMITER = "__"
FILE_SUFFIX = "_file"
NOT_SETTINGS = frozenset({"ICHOR_CONFIG", "ICHOR_WEIGHTS", "ICHOR_TEST_DATA"})
"""Variables that are read elsewhere: the settings file's path, the folder of model weights, the tests' data."""

ENTRIES: Mapping[str, Mapping[str, type[BaseModel]]] = {
    "destinations": {"dimse": DimseDestination, "dicomweb": DicomwebDestination, "hl7": Hl7Destination},
    "callers": {"caller": CallerSettings},
    "sources": {"dimse": DimseSource, "dicomweb": DicomwebSource},
    "alerts": {"webhook": WebhookChannel, "smtp": SmtpChannel},
    "users": {"user": UserSettings},
}
"""The classes of the entries of each list of tables, by their `type`."""


def load_settings(config: Path | None, *, environ: Mapping[str, str]) -> Settings:
    """Read the settings from a file and the environment, which wins.

    `ICHOR_DICOM__PORT` sets `port` in `[dicom]`; `ICHOR_ALERTS__ON_CALL__SECRET` sets `secret` of the `[[alerts]]`
    entry named `on-call`; with `_FILE` behind any of them, or behind a key in the file, the value is read from the
    file of that name. Without `config`, `ICHOR_CONFIG` names the file; without both there is none.

    Raises:
        SettingsError: the file is missing or no TOML, a key is unknown, or a value is not usable.
    """
    values: dict[str, Any] = {}
    named = environ.get("ICHOR_CONFIG", "")
    path = config if config is not None else (Path(named) if named else None)
    if path is not None:
        values = _read_toml(path)
    for variable in sorted(environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in NOT_SETTINGS:
            _set_variable(values, variable, environ[variable])
    if "data_dir" not in values:
        values["data_dir"] = _default_data_dir(environ)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    # XDG base directory specification: no root needed, nothing in the working directory.
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "ichor"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not valid TOML: {error}.") from error
    _check_table(values, Settings, str(path), ())
    return values


def _check_table(table: dict[str, Any], model: type[BaseModel], where: str, at: tuple[str, ...]) -> None:
    """Refuse unknown keys here and below, and put in place what `X_file` keys point to."""
    for key in list(table):
        value = table[key]
        name = _setting(model, key, where, at)
        if name != key:
            table[name] = _read_value(f"{where}: {'.'.join((*at, key))}", str(table.pop(key)))
        elif key in ENTRIES and isinstance(value, list):
            for entry in value:
                if isinstance(entry, dict):
                    _check_table(entry, _entry_model(key, entry, where), where, (*at, key))
        elif isinstance(value, dict) and (section := _section(model, key)) is not None:
            _check_table(value, section, where, (*at, key))


def _setting(model: type[BaseModel], key: str, where: str, at: tuple[str, ...]) -> str:
    """Return the setting that a key names, itself or its file; refuse what is none."""
    known = sorted(model.model_fields)
    for name in (key, key.removesuffix(FILE_SUFFIX)):
        if name in known:
            return name
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    raise SettingsError(
        f"{where}: unknown key {'.'.join((*at, key))!r}; the nearest known one is {'.'.join((*at, *near))!r}."
    )


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    annotation = model.model_fields[key].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _entry_model(key: str, entry: Mapping[str, Any], where: str) -> type[BaseModel]:
    kind = str(entry.get("type", next(iter(ENTRIES[key]))))
    if kind not in ENTRIES[key]:
        raise SettingsError(f"{where}: {key} of the type {kind!r} are not known; known are {', '.join(ENTRIES[key])}.")
    return ENTRIES[key][kind]


def _read_value(key: str, path: str) -> str:
    try:
        # Editors and secret stores leave a line end that belongs to no secret.
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{key}: the file {path} cannot be read: {error}.") from error


def _set_variable(values: dict[str, Any], variable: str, text: str) -> None:
    """Set what one variable says, in place."""
    model: type[BaseModel] = Settings
    table = values
    path = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split(NESTED_DELIMITER)
    at: tuple[str, ...] = ()
    while len(path) > 1:
        key = _setting(model, path.pop(0), variable, at)
        at = (*at, key)
        if key in ENTRIES:
            table = _named_entry(values.get(key, []), variable, path.pop(0))
            model = _entry_model(key, table, variable)
            continue
        section = _section(model, key)
        table = table.setdefault(key, {})
        if section is None or not isinstance(table, dict):
            raise SettingsError(f"{variable}: {'.'.join(at)} is no table.")
        model = section
    if not path:
        raise SettingsError(f"{variable}: the name ends before a setting.")
    name = _setting(model, path[0], variable, at)
    value = text if name == path[0] else _read_value(variable, text)
    if not _is_structured(model, name):
        table[name] = value
        return
    table[name] = _from_json(variable, value)
    _check_table({name: table[name]}, model, variable, at)


def _is_structured(model: type[BaseModel], name: str) -> bool:
    return _section(model, name) is not None or "tuple[" in str(model.model_fields[name].annotation)


def _from_json(variable: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{variable}: a list or table is given as JSON: {error}.") from error


def _named_entry(entries: Any, variable: str, name: str) -> dict[str, Any]:
    """Return the entry of a list of tables whose name reads like this in a variable: `on-call` is `ON_CALL`."""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and re.sub(r"[^a-z0-9]", "_", str(entry.get("name", "")).lower()) == name:
            return entry
    raise SettingsError(f"{variable}: no entry is named {name!r}.")


def _sentence(error: ValidationError) -> str:
    # The input is left out: it may be a secret.
    parts = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(key) for key in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {message}" if where else message)
    return "; ".join(parts) + "."
