"""The node in parts, each a process of its own, over a real Redis whose every command is written down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.peers.programs import LOOPBACK, Program, free_port, require, wait_until

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.peers.redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
START_S = 180.0


class SplitNode:
    """`listen`, `web`, `work` twice and `reconcile`; the threshold segmenter stands in for a network."""

    def __init__(self, folder: Path, redis: RedisServer, toml: str) -> None:
        self.dicom_port, self.http_port = free_port(), free_port()
        self._folder = folder
        self._config = folder / "ichor.toml"
        self._config.write_text(
            f'data_dir = "{folder / "data"}"\nredis_url = "{redis.url}"\nlog_level = "debug"\n'
            f'[dicom]\nhost = "{LOOPBACK}"\nport = {self.dicom_port}\n'
            f'[http]\nhost = "{LOOPBACK}"\nport = {self.http_port}\n'
            f"[completeness]\nsettle_s = 1.0\nstudy_settle_s = 3.0\n"
            f"[jobs]\nheartbeat_s = 0.5\nbackoff_base_s = 0.2\nbackoff_max_s = 1.0\nreconcile_s = 0.3\n{toml}"
        )
        config = ["--config", str(self._config)]
        self._ichor = [sys.executable, "-m", "console.cli"]
        commands = {
            "listen": [*self._ichor, "listen", *config],
            "web": [*self._ichor, "web", *config],
            "analyse": [sys.executable, "-m", "tests.chaos.stub_worker", config[1], "0"],
            "deliver": [*self._ichor, "work", "--queue", "deliver", *config],
            "reconcile": [*self._ichor, "reconcile", *config],
            "monitor": [require("redis-cli"), "-s", str(redis.socket), "monitor"],
        }
        self.parts = {
            name: Program(command, log=folder / f"{name}.log", environ=self._environ())
            for name, command in commands.items()
        }

    @property
    def url(self) -> str:
        """The root of the web application."""
        return f"http://{LOOPBACK}:{self.http_port}"

    def start(self, stack: ExitStack) -> None:
        """Start every part and wait until the node can do its job; `stack` ends them."""
        for part in reversed(self.parts.values()):
            part.start()
            stack.callback(part.stop)
        wait_until(self._ready, timeout_s=START_S, what=f"the node ready:\n{self.parts['web'].output()[-2000:]}")

    def ichor(self, *arguments: str) -> str:
        """Run a command as a person would, and give what it says."""
        command = [*self._ichor, *arguments, "--config", str(self._config)]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=self._environ()).stdout

    def send(self, paths: list[Path]) -> None:
        """Send instances as a scanner would."""
        command = [require("dcmsend"), "-aec", "ICHOR", LOOPBACK, str(self.dicom_port), *map(str, paths)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def study(self, study_instance_uid: str) -> dict[str, Any]:
        """Get one study as the API tells it; empty while it is unknown."""
        answer = httpx.get(f"{self.url}/api/studies/{study_instance_uid}", timeout=30)
        return {} if answer.status_code == 404 else dict(answer.raise_for_status().json())

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _environ(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("ICHOR_")}
        return {**outside, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
