"""Settings: one file, one environment, and nothing unknown goes unnoticed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError
from typing_extensions import TypeIs

from ichor.errors import SettingsError
from ichor.settings import (
    CallerSettings,
    DicomwebDestination,
    DicomwebSource,
    DimseDestination,
    DimseSource,
    Hl7Destination,
    Settings,
    SmtpChannel,
    UserSettings,
    WebhookChannel,
    load_settings,
)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
ALERT = '[[alerts]]\nname = "on-call"\nurl = "https://alerts.example"\n'
PACS = '[[destinations]]\nname = "pacs"\nhost = "127.0.0.1"\nae_title = "PACS"\n'


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ichor.toml"
    path.write_text(text)
    return path


def is_table(annotation: object) -> TypeIs[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def fields(model: type[BaseModel], prefix: str = "") -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if is_table(annotation):
            names |= fields(annotation, f"{prefix}{name}.")
        else:
            names.add(prefix + name)
    return names


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    """docs/settings.md and the code name the same keys."""
    entries = fields(DimseDestination, "destinations.") | fields(DicomwebDestination, "destinations.")
    entries |= fields(Hl7Destination, "destinations.") | fields(CallerSettings, "dicom.callers.")
    known = (
        fields(Settings) - {"destinations", "sources", "alerts", "users"}
        | fields(DimseSource, "sources.")
        | fields(DicomwebSource, "sources.")
        | entries
        | fields(WebhookChannel, "alerts.")
        | fields(SmtpChannel, "alerts.")
        | fields(UserSettings, "users.")
    )
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", DOCS.read_text(), re.MULTILINE))
    assert documented == known


def test_documented_defaults_are_the_real_ones() -> None:
    """A default in the tables is the one that holds."""
    rows = re.findall(r"^\| `([a-z]+)\.([a-z_]+)` \| `([^`]+)` \|", DOCS.read_text(), re.MULTILINE)
    tables: dict[str, type[BaseModel]] = {
        "destinations": DimseDestination,
        "sources": DimseSource,
        "alerts": WebhookChannel,
    }
    tables |= {
        name: annotation for name, field in Settings.model_fields.items() if is_table(annotation := field.annotation)
    }
    for section, key, documented in rows:
        model = tables[section]
        default = model.model_fields[key].default
        shown = str(list(default)).replace("'", '"') if isinstance(default, tuple) else f"{default}"
        assert documented in {shown, shown.lower(), shown.removesuffix(".0")}, f"{section}.{key}"
    assert len(rows) > 25


def test_defaults_listen_on_loopback_and_hold_results(tmp_path: Path) -> None:
    """A node nobody configured talks to nobody outside."""
    settings = load_settings(None, environ={"HOME": str(tmp_path)})
    assert settings.data_dir == tmp_path / ".local" / "share" / "ichor"
    assert (settings.dicom.host, settings.http.host) == ("127.0.0.1", "127.0.0.1")
    assert settings.delivery.hold
    assert settings.destinations == ()
    assert settings.resolved_catalogue_url == f"sqlite:///{settings.data_dir}/catalogue.sqlite"
    assert settings.resolved_redis_url == f"redis+socket://{settings.data_dir}/redis.sock"
    assert settings.resolved_models_dir == settings.data_dir / "models"


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """File, then environment; what neither names keeps its default."""
    path = toml(tmp_path, f'data_dir = "{tmp_path}"\n[dicom]\nport = 104\nae_title = "HEAD"\n')
    settings = load_settings(None, environ={"ICHOR_CONFIG": str(path), "ICHOR_DICOM__PORT": "11113"})
    assert (settings.dicom.port, settings.dicom.ae_title, settings.data_dir) == (11113, "HEAD", tmp_path)
    assert settings.dicom.max_associations == 32


@pytest.mark.parametrize(
    ("text", "environ", "named"),
    [
        ("", {"ICHOR_DICOM__PROT": "1"}, "dicom.port"),
        ("", {"ICHOR_DATADIR": "/x"}, "data_dir"),
        ("", {"ICHOR_DICM__PORT": "1"}, "dicom"),
        ("", {"ICHOR_DICOM": '{"prot": 1}'}, "dicom.port"),
        ("[dicom]\nprot = 1\n", {}, "dicom.port"),
        ("data_dri = 'x'\n", {}, "data_dir"),
        (PACS + "confrim = 'none'\n", {}, "destinations.confirm"),
        (ALERT, {"ICHOR_ALERTS__ON_CALL__SECRT": "x"}, "alerts.secret"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_known_one(
    tmp_path: Path, text: str, environ: dict[str, str], named: str
) -> None:
    """A misspelt key never goes unnoticed, wherever it stands."""
    with pytest.raises(SettingsError, match=re.escape(repr(named))):
        load_settings(toml(tmp_path, text), environ=environ)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dicom]\nport = 70000\n", "dicom.port"),
        ("[dicom]\nae_title = 'SEVENTEEN-LETTERS'\n", "dicom.ae_title"),
        ("[jobs]\nheartbeat_s = 15\n", "half of lease_ttl_s"),
        ("dicom = 3\n", "dicom"),
        (ALERT, "unsigned alerts are refused"),
        (PACS + PACS, "'pacs' stands twice"),
        (PACS + "type = 'ftp'\n", "known are dimse, dicomweb, hl7"),
        ("not toml", "not valid TOML"),
    ],
)
def test_unusable_values_are_one_clear_sentence(tmp_path: Path, text: str, said: str) -> None:
    """What cannot work is said at the start, and says where."""
    with pytest.raises(SettingsError, match=re.escape(said)) as raised:
        load_settings(toml(tmp_path, text), environ={})
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A node does not start on defaults because its file was not mounted."""
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "absent.toml", environ={})


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    """`X_FILE` and `x_file` read the value; no text form of the settings shows it, and errors leave it out."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    by_key = load_settings(toml(tmp_path, ALERT + f'secret_file = "{secret}"\n'), environ={})
    by_variable = load_settings(toml(tmp_path, ALERT), environ={"ICHOR_ALERTS__ON_CALL__SECRET_FILE": str(secret)})
    for settings in (by_key, by_variable):
        channel = settings.alerts[0]
        assert isinstance(channel, WebhookChannel)
        assert channel.secret.get_secret_value() == "hunter2"
        assert "hunter2" not in repr(settings) + settings.model_dump_json()
    with pytest.raises(SettingsError, match="timeout_s") as raised:
        load_settings(toml(tmp_path, ALERT + 'secret = "hunter2"\ntimeout_s = "soon"\n'), environ={})
    assert "hunter2" not in str(raised.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(toml(tmp_path, ALERT), environ={"ICHOR_ALERTS__ON_CALL__SECRET_FILE": "/absent"})


def test_both_types_of_destinations_are_told_apart(tmp_path: Path) -> None:
    """The type decides; without one a destination is DIMSE."""
    web = '[[destinations]]\nname = "web"\ntype = "dicomweb"\nurl = "https://pacs.example/dicom-web"\nsend = ["seg"]\n'
    settings = load_settings(toml(tmp_path, PACS + web), environ={})
    pacs, other = settings.destinations
    assert isinstance(pacs, DimseDestination)
    assert isinstance(other, DicomwebDestination)
    assert (pacs.port, pacs.send, other.send) == (104, ("seg", "sr", "summary"), ("seg",))


def test_settings_are_frozen_and_deaf_to_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only `load_settings` reads the environment; what it gives stays as it is."""
    monkeypatch.setenv("ICHOR_LOG_LEVEL", "debug")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    settings = Settings(data_dir=tmp_path)
    assert settings.log_level == "info"
    with pytest.raises(ValidationError):
        settings.log_level = "error"


def test_a_socket_path_beyond_the_kernels_limit_is_said(tmp_path: Path) -> None:
    """A Unix socket's path holds 107 bytes; the message names the way out."""
    settings = Settings(data_dir=tmp_path / ("x" * 120))
    with pytest.raises(SettingsError, match="set redis_url"):
        _ = settings.redis_socket


def test_every_choice_of_results_is_known_to_destinations() -> None:
    """What `send` may name is what is written."""
    assert set(get_args(get_args(DimseDestination.model_fields["send"].annotation)[0])) == {
        "seg",
        "sr",
        "sr-record",
        "summary",
        "rejection",
    }


def test_escalations_lead_to_channels_of_that_role(tmp_path: Path) -> None:
    """A misspelt name on the on-call list is said at the start, not at night."""
    second = '[[alerts]]\nname = "second"\ntype = "smtp"\nhost = "mail"\nsender = "a@b"\nto = ["c@d"]\n'
    with pytest.raises(SettingsError, match="on-call escalates to 'second'"):
        load_settings(toml(tmp_path, ALERT + 'secret = "s"\nescalate_to = ["second"]\n' + second), environ={})
    text = ALERT + 'secret = "s"\nescalate_to = ["second"]\n' + second + 'role = "escalation"\n'
    settings = load_settings(toml(tmp_path, text), environ={})
    assert [channel.name for channel in settings.finding_channels] == ["on-call"]


def test_callers_are_checked_when_they_are_read(tmp_path: Path) -> None:
    """Without entries only this host may call; an entry names what it means, and mistakes are said at the start."""
    (nobody,) = load_settings(None, environ={"ICHOR_DATA_DIR": str(tmp_path)}).dicom.callers
    assert (nobody.ae_title, nobody.networks) == ("*", ("127.0.0.0/8", "::1/128"))
    text = '[[dicom.callers]]\nae_title = "CT1"\nnetworks = ["10.1.2.0/24", "fd00::7"]\n'
    (caller,) = load_settings(toml(tmp_path, text), environ={}).dicom.callers
    assert [str(network) for network in caller.ip_networks] == ["10.1.2.0/24", "fd00::7/128"]
    listed = '[{"ae_title": "CT2", "networks": ["10.0.0.1"]}]'
    (caller,) = load_settings(None, environ={"ICHOR_DICOM__CALLERS": listed}).dicom.callers
    assert caller.ae_title == "CT2"
    with pytest.raises(SettingsError, match=r"10\.1\.2\.3/24 has host bits set"):
        load_settings(toml(tmp_path, text.replace("2.0/24", "2.3/24")), environ={})
    with pytest.raises(SettingsError, match=r"unknown key 'dicom\.callers\.network'; .* 'dicom\.callers\.networks'"):
        load_settings(toml(tmp_path, text.replace("networks", "network")), environ={})
    with pytest.raises(SettingsError, match="only with a certificate"):
        load_settings(toml(tmp_path, '[dicom.tls]\nkey = "key.pem"\n'), environ={})
