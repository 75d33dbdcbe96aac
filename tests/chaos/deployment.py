"""The split deployment: every part a process of its own, over PostgreSQL and Redis, kept alive as an init system would.

`listen`, `web`, `work --queue analyse`, `work --queue deliver` and `reconcile` share one catalogue, one Redis and one
data directory; the PACS are an Orthanc and a recording SCP, the people on call a webhook.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from ichor.catalogue.engine import Catalogue
from ichor.settings import Settings, load_settings
from tests.chaos.disk import Disk
from tests.ichor.postgres import PostgresCluster
from tests.peers.orthanc import Orthanc
from tests.peers.programs import LOOPBACK, Program, free_port, wait_until
from tests.peers.recording import RecordingScp
from tests.peers.redis import RedisServer
from tests.peers.webhook import WebhookServer

ROOT = Path(__file__).resolve().parents[2]
RESTART_S = 0.5
START_S = 120.0
MODEL_PAUSE_S = 0.3
"""The stub's time per study, so that kills find analyses in progress."""


class Deployment:
    """All processes of one chaos run; `parts` are ours and come back by themselves, the peers are restarted by hand."""

    def __init__(self, folder: Path, disk: Disk, *, analysis_workers: int) -> None:
        self.disk = disk
        self.dicom_port, self.http_port = free_port(), free_port()
        pg_folder, redis_folder = folder / "pg", folder / "redis"
        pg_folder.mkdir()
        redis_folder.mkdir()
        self.postgres = PostgresCluster(pg_folder, durable=True)
        self.redis = RedisServer(redis_folder, persistent=True)
        self.orthanc = Orthanc(folder / "orthanc", overwrite_instances=True)
        self.recorder = RecordingScp()
        self.webhook = WebhookServer()
        self._folder = folder
        self._analysis_workers = analysis_workers
        self.parts: dict[str, Program] = {}
        self.restarts: Counter[str] = Counter()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self, stack: ExitStack) -> None:
        """Start everything and wait until it takes studies; `stack` ends it."""
        self.postgres.create()
        self.postgres.start()
        stack.callback(self.postgres.stop)
        for peer in (self.redis, self.orthanc, self.recorder, self.webhook):
            peer.start()
            stack.callback(peer.stop)
        self.settings = self._write_settings(self.postgres.new_database())
        self.catalogue = Catalogue.open(self.settings.resolved_catalogue_url)
        stack.callback(self.catalogue.close)
        for name, command in self._commands().items():
            self.parts[name] = Program(command, log=self._folder / f"{name}.log", environ=self._environ())
            self.parts[name].start()
            stack.callback(self.parts[name].stop)
        stack.callback(self._end_keeper)
        wait_until(self.ready, timeout_s=START_S, what="the node ready")
        self._keeper.start()

    def ready(self) -> bool:
        """Whether /readyz is green."""
        try:
            return httpx.get(f"http://{LOOPBACK}:{self.http_port}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def logs(self) -> dict[str, str]:
        """Give what each part wrote."""
        return {name: part.output() for name, part in self.parts.items()}

    def _keep(self) -> None:
        while not self._over.wait(0.1):
            for name, part in self.parts.items():
                if not part.running:
                    time.sleep(RESTART_S)
                    self.restarts[name] += 1
                    part.start()

    def _end_keeper(self) -> None:
        self._over.set()
        if self._keeper.is_alive():
            self._keeper.join()

    def _commands(self) -> dict[str, list[str]]:
        config = ["--config", str(self._folder / "ichor.toml")]
        ichor = [sys.executable, "-P", "-m", "console.cli"]
        stub = [sys.executable, "-m", "tests.chaos.stub_worker", config[1], str(MODEL_PAUSE_S)]
        return {
            "listen": [*ichor, "listen", *config],
            "web": [*ichor, "web", *config],
            **{f"analyse{number}": stub for number in range(self._analysis_workers)},
            "deliver": [*ichor, "work", "--queue", "deliver", *config],
            "reconcile": [*ichor, "reconcile", *config],
        }

    def _environ(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("ICHOR_")}
        return {**outside, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}

    def _write_settings(self, catalogue_url: str) -> Settings:
        config = self._folder / "ichor.toml"
        config.write_text(
            f'data_dir = "{self.disk.folder}"\ncatalogue_url = "{catalogue_url}"\nredis_url = "{self.redis.url}"\n'
            f'[dicom]\nhost = "{LOOPBACK}"\nport = {self.dicom_port}\n'
            f'[http]\nhost = "{LOOPBACK}"\nport = {self.http_port}\n'
            f'[analysis]\nmodel = "phantom-demo"\nmembers = 1\n'
            f"[completeness]\nsettle_s = 3.0\nstudy_settle_s = 10.0\n"
            f"[jobs]\nlease_ttl_s = 5.0\nheartbeat_s = 1.0\nbackoff_base_s = 0.5\nbackoff_max_s = 4.0\n"
            f"reconcile_s = 1.0\n"
            f"[delivery]\nhold = false\nconfirm_timeout_s = 10.0\n"
            f"[disk]\nmin_free_gb = {self.disk.min_free_gb}\nlow_free_gb = {self.disk.min_free_gb + 0.01}\n"
            f"{_destination('orthanc', self.orthanc.dicom_port, self.orthanc.ae_title)}"
            f"{_destination('recorder', self.recorder.port, self.recorder.ae_title)}"
            f'[[alerts]]\nname = "on-call"\ntype = "webhook"\nurl = "{self.webhook.url}"\nsecret = "chaos"\n'
            f"timeout_s = 5.0\n"
        )
        return load_settings(config, environ={})


def _destination(name: str, port: int, ae_title: str) -> str:
    return (
        f'[[destinations]]\nname = "{name}"\ntype = "dimse"\nhost = "{LOOPBACK}"\nport = {port}\n'
        f'ae_title = "{ae_title}"\ntimeout_s = 8.0\n'
    )


@contextmanager
def deployed(folder: Path, disk: Disk, *, analysis_workers: int) -> Iterator[Deployment]:
    """Run a deployment while the block runs."""
    with ExitStack() as stack:
        deployment = Deployment(folder, disk, analysis_workers=analysis_workers)
        deployment.start(stack)
        yield deployment
