"""The demo's node: `ichor serve` as a child, with a settings file and a data directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from console.demo.loopback import LOOPBACK, node_environment
from console.leash import leashed
from console.supervisor import DRAIN_S, REDIS_STOP_S, is_ready
from ichor.errors import StartError
from ichor.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from console.demo.model_choice import ModelChoice
    from console.demo.pacs import Pacs
    from ichor.settings import Settings

AE_TITLE = "ICHORDEMO"
READY_S = 60.0
SETTLE_S = 3.0
STUDY_SETTLE_S = 15.0
"""A node in service waits longer for late slices (20 s and 120 s); the demo knows that none will come."""

SETTINGS = """\
# Settings of one demo: loopback only, short settling times, results delivered at once.
data_dir = {data_dir!r}
models_dir = {models_dir!r}

[dicom]
ae_title = {ae_title!r}
host = {host!r}
port = {dicom_port}

[http]
host = {host!r}
port = {http_port}

[analysis]
model = {model!r}
members = {members}

[completeness]
settle_s = {settle_s}
study_settle_s = {study_settle_s}

[delivery]
hold = false

[[destinations]]
name = "pacs"
type = "dimse"
host = {host!r}
port = {pacs_port}
ae_title = {pacs_ae_title!r}
send = ["seg", "sr", "summary"]

[[alerts]]
name = "on-call"
type = "webhook"
url = {alert_url!r}
secret_file = {secret_file!r}
min_volume_ml = 0.5
"""
"""Python's repr of these paths and words is a TOML literal string; `write_settings` reads the file back to be sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts:
    """Where the node listens."""

    dicom: int
    http: int


def write_settings(
    path: Path, *, data_dir: Path, ports: NodePorts, model: ModelChoice, pacs: Pacs, alert_url: str, secret_file: Path
) -> Settings:
    """Write the settings file and give what a node will read from it."""
    text = SETTINGS.format(
        data_dir=str(data_dir),
        models_dir=str(model.models_dir),
        ae_title=AE_TITLE,
        host=LOOPBACK,
        dicom_port=ports.dicom,
        http_port=ports.http,
        model=model.name,
        members=model.members,
        settle_s=SETTLE_S,
        study_settle_s=STUDY_SETTLE_S,
        pacs_port=pacs.port,
        pacs_ae_title=pacs.ae_title,
        alert_url=alert_url,
        secret_file=str(secret_file),
    )
    if tomllib.loads(text)["data_dir"] != str(data_dir):
        raise StartError(f"The demo cannot use a folder of this name: {data_dir}")
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ={})


@dataclass(slots=True, kw_only=True)
class DemoNode:
    """The running child."""

    config: Path
    settings: Settings
    environ: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> float:
        """Start it and wait until it is ready; give the seconds that took."""
        argv = [sys.executable, "-P", "-m", "console.cli", "serve", "--config", str(self.config)]
        began_s = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                leashed(argv, parent_pid=os.getpid()),
                env=node_environment(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not is_ready(self.settings.http):
            if self.process.poll() is not None:
                raise StartError(f"The demo's node did not start: {self.last_words()}")
            if time.monotonic() - began_s > READY_S:
                raise StartError(f"The demo's node was not ready within {READY_S:.0f} s; its log is {self.log}.")
            time.sleep(0.1)
        return time.monotonic() - began_s

    def last_words(self) -> str:
        """Give the last line of the node's log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"its log {self.log} is empty"

    def stop(self) -> None:
        """Tell it to end and wait; the supervisor ends its own children."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(DRAIN_S + REDIS_STOP_S + 5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
