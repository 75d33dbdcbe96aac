"""`ichor listen` as it runs in a hospital: a process of its own, with acceptors that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ichor.errors import IchorError
from ichor.peers.dimse import Peer, echo
from ichor.settings import Settings
from tests.peers.programs import listens, wait_until

ROOT = Path(__file__).parents[2]


@dataclass
class ListenProcess:
    """`ichor listen` with the settings' data directory and port."""

    settings: Settings
    processes: int = 2
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it and wait until it answers an echo."""
        dicom = self.settings.dicom
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ICHOR_")}
        environ |= {
            "PYTHONPATH": str(ROOT),  # the acceptors must run this tree, wherever the package is installed from
            "ICHOR_DATA_DIR": str(self.settings.data_dir),
            "ICHOR_DICOM__PORT": str(dicom.port),
            "ICHOR_DICOM__PROCESSES": str(self.processes),
            "ICHOR_DICOM__IDLE_TIMEOUT_S": str(dicom.idle_timeout_s),
            "ICHOR_DICOM__ARTIM_TIMEOUT_S": str(dicom.artim_timeout_s),
            "ICHOR_DISK__MIN_FREE_GB": "0",
            "ICHOR_LOG_LEVEL": "error",
        }
        command = [sys.executable, "-P", "-m", "console.cli", "listen"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.answers, timeout_s=120, what="the listener")

    @property
    def log_path(self) -> Path:
        """Where it writes its log."""
        return self.settings.data_dir.parent / "listen.log"

    def answers(self) -> bool:
        """Say whether a C-ECHO is answered."""
        if not listens(self.settings.dicom.port):
            return False
        peer = Peer(
            host="127.0.0.1", port=self.settings.dicom.port, ae_title="ICHOR", calling_ae_title="TEST", timeout_s=10
        )
        try:
            echo(peer)
        except IchorError:
            return False
        return True

    def acceptors(self) -> list[psutil.Process]:
        """Return the acceptor processes."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children()

    def kill(self) -> None:
        """End the listener as a power cut would; its acceptors die with it."""
        assert self.process is not None
        acceptors = self.acceptors()
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(acceptors, timeout=60)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
