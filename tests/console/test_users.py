"""Users: the entry that a command prints, the hash that must be one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from console.users import Users
from ichor.errors import NotAuthenticated, SettingsError
from ichor.settings import UserSettings, load_settings


def test_a_password_becomes_an_entry(tmp_path: Path) -> None:
    """What `ichor password` prints is an entry that the settings take and that the password opens; short ones fail."""
    command = [sys.executable, "-m", "console.cli", "password", "Dr Night"]
    told = subprocess.run(command, input="correct horse\n", capture_output=True, text=True, check=True)
    config = tmp_path / "ichor.toml"
    config.write_text(told.stdout)
    users = Users(load_settings(config, environ={}).users)
    assert users.check("Dr Night", "correct horse") == "Dr Night"
    with pytest.raises(NotAuthenticated):
        users.check("Dr Night", "correct zebra")
    assert "correct horse" not in told.stdout + told.stderr
    assert subprocess.run(command, input="short\n", capture_output=True, text=True, check=False).returncode == 2


def test_a_hash_that_is_none_is_said_at_the_start() -> None:
    """A password where its hash belongs keeps the web server from starting, and is not repeated."""
    with pytest.raises(SettingsError, match="Dr Night: password_hash is none") as raised:
        Users([UserSettings(name="Dr Night", password_hash=SecretStr("hunter2"))])
    assert "hunter2" not in str(raised.value)
