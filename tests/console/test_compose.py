"""compose.yaml names only settings that exist, and opens nothing beyond this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from console.cli.entry import COMMANDS
from ichor.settings import load_settings

COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"
COMMAND_OF = {
    "listener": ["listen"],
    "web": ["web"],
    "worker-gpu": ["work", "--queue", "analyse"],
    "deliver": ["work", "--queue", "deliver"],
    "reconcile": ["reconcile"],
}
SERVICES = {*COMMAND_OF, "redis", "postgres", "orthanc"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as a YAML parser reads it, merged keys and all."""
    parsed = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    assert isinstance(parsed, dict)
    return parsed


def test_every_part_is_there(compose: dict[str, Any]) -> None:
    """Each of our services runs a command that `ichor` has, from one image, on the shared store."""
    assert set(compose["services"]) == SERVICES
    for name, command in COMMAND_OF.items():
        service = compose["services"][name]
        assert service["command"] == command
        assert command[0] in {entry.name for entry in COMMANDS}
        assert service["image"] == compose["x-node"]["image"]
        assert "store:/var/lib/ichor" in service["volumes"]


def test_every_setting_exists(compose: dict[str, Any], tmp_path: Path) -> None:
    """The environment of the containers loads as settings, secrets from their files, and holds results back."""
    secret = tmp_path / "catalogue_url"
    secret.write_text("postgresql+psycopg://ichor:secret@postgres/ichor\n", encoding="ascii")
    for name in COMMAND_OF:
        environ = {key: str(value) for key, value in compose["services"][name]["environment"].items()}
        assert len(environ) > 5
        assert environ["ICHOR_CATALOGUE_URL_FILE"] == "/run/secrets/catalogue_url"
        settings = load_settings(None, environ=environ | {"ICHOR_CATALOGUE_URL_FILE": str(secret)})
        assert settings.catalogue_url.startswith("postgresql+psycopg://")
        assert settings.redis_url.startswith("redis://redis:")
        assert settings.delivery.hold is True


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    """Opening a port to the hospital's network is a decision of the person who operates the node."""
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_names_lead_somewhere(compose: dict[str, Any]) -> None:
    """Whatever a service waits for, mounts or is given a secret of is described in the same file."""
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(compose["volumes"])
