"""`ichor doctor` says what is wrong, in a line each, and changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from console.cli.entry import run
from console.doctor import Level, check_destinations, check_model, check_redis, check_settings
from ichor.settings import Settings, load_settings
from tests.peers.programs import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.peers.recording import RecordingScp


def settings_of(folder: Path, *destination_ports: int) -> Settings:
    """Give settings with DIMSE destinations on these ports."""
    folder.mkdir(exist_ok=True)
    entries = "".join(
        f'[[destinations]]\nname = "pacs{number}"\nhost = "{LOOPBACK}"\nport = {port}\nae_title = "PACS"\n'
        for number, port in enumerate(destination_ports)
    )
    config = folder / "ichor.toml"
    config.write_text(f'data_dir = "{folder / "data"}"\n{entries}')
    return load_settings(config, environ={})


def test_destinations_are_echoed(tmp_path: Path, recording_scp: RecordingScp) -> None:
    """A destination that answers C-ECHO is well, one that does not has failed."""
    checks = list(check_destinations(settings_of(tmp_path, recording_scp.port)))
    assert [check.level for check in checks] == [Level.OK]


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # pynetdicom leaves a refused socket open
def test_silent_destination_has_failed(tmp_path: Path) -> None:
    """A destination that nobody serves is named with its address."""
    port = free_port()
    (check,) = check_destinations(settings_of(tmp_path, port))
    assert check.level is Level.FAILED
    assert str(port) in check.text


def test_open_ends_of_the_settings_are_named(tmp_path: Path) -> None:
    """No destination, no alert channel, results held: each is said."""
    text = " ".join(check.text for check in check_settings(settings_of(tmp_path)) if check.level is Level.WARNING)
    for part in ("no destination", "no alert channel", "held"):
        assert part in text


def test_silent_hours_and_missing_users_are_named(tmp_path: Path) -> None:
    """Channels whose hours leave a gap, and alerts that nobody can acknowledge."""

    def said(*hours: Mapping[str, object]) -> str:
        alerts = [{"name": f"c{n}", "url": "http://127.0.0.1/", "secret": "s", **more} for n, more in enumerate(hours)]
        settings = load_settings(
            None, environ={"ICHOR_DATA_DIR": str(tmp_path / "data"), "ICHOR_ALERTS": json.dumps(alerts)}
        )
        return " ".join(check.text for check in check_settings(settings) if check.level is Level.WARNING)

    assert "nobody can acknowledge" in said({})
    assert "set http.public_url" in said({})
    day, night = {"hours": "08:00-18:00"}, {"hours": "18:00-08:00"}
    assert "nobody is told on Monday at 00:00" in said(day)
    weeknights, saturday = night | {"weekdays": ["mon", "tue", "wed", "thu", "fri"]}, {"weekdays": ["sat"]}
    assert "nobody is told on Saturday at 18:00" in said(day, weeknights, saturday | {"hours": "00:00-08:00"})
    assert "nobody is told" not in said(day, night)


def test_missing_weights_have_failed(tmp_path: Path) -> None:
    """Without weights the check fails and says how to get them."""
    (check,) = check_model(settings_of(tmp_path), {"ICHOR_WEIGHTS": str(tmp_path)})
    assert check.level is Level.FAILED
    assert "ichor models pull" in check.text


def test_redis_of_the_node_is_named(tmp_path: Path) -> None:
    """The Redis that `ichor serve` would start is named with its version."""
    checks = list(check_redis(settings_of(tmp_path)))
    assert "redis-server" in checks[0].text


def test_doctor_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking makes no data directory, and a failed check is exit code 1."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ICHOR_WEIGHTS", str(tmp_path))
    assert run(["doctor", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)
    assert {check["name"] for check in checks} >= {"settings", "disk", "redis", "catalogue", "model", "gpu", "decoders"}
    assert not (tmp_path / "data").exists()
