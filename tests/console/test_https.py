"""The web server behind its own certificate."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from console.supervisor import readiness
from ichor.settings import load_settings
from tests.peers.certificates import make_certificates
from tests.peers.programs import LOOPBACK, Program, free_port


def command(folder: Path, port: int, certificate: Path, key: Path) -> list[str]:
    config = folder / "ichor.toml"
    config.write_text(
        f'data_dir = "{folder / "data"}"\n[http]\nport = {port}\ncertificate = "{certificate}"\n'
        f'certificate_key = "{key}"\n'
    )
    return [sys.executable, "-m", "console.cli", "web", "--config", str(config)]


def test_with_a_certificate_there_is_only_https(short_dir: Path) -> None:
    """Pages come over TLS 1.2 or later with forward secrecy, and not in the clear."""
    issued = make_certificates(short_dir / "certificates")
    port = free_port()
    line = command(short_dir, port, issued.certificate("server"), issued.key("server"))
    trust = ssl.create_default_context(cafile=issued.certificate("authority"))
    with Program(line, log=short_dir / "web.log", environ=dict(os.environ)) as web:
        web.wait_for_port(port, timeout_s=120)
        with httpx.Client(verify=trust, trust_env=False) as client:
            assert client.get(f"https://{LOOPBACK}:{port}/healthz").json()["status"] == "alive"
        settings = load_settings(short_dir / "ichor.toml", environ={})
        assert readiness(settings.http) == 503  # the supervisor's question: the other parts are missing
        assert settings.base_url == f"https://{LOOPBACK}:{port}"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{LOOPBACK}:{port}/healthz", trust_env=False)
        weak = ssl.create_default_context(cafile=issued.certificate("authority"))
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("ECDHE-ECDSA-AES128-SHA")
        with httpx.Client(verify=weak, trust_env=False) as client, pytest.raises(httpx.ConnectError):
            client.get(f"https://{LOOPBACK}:{port}/healthz")


def test_a_certificate_that_is_missing_is_said(short_dir: Path) -> None:
    """One sentence, and no server in the clear instead."""
    line = command(short_dir, free_port(), short_dir / "absent.pem", short_dir / "absent.key")
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "certificate cannot be used" in ended.stderr
