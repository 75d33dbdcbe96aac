"""The PACS of the demo, a process of its own: Orthanc where it is on PATH, else the small one of this package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage, SegmentationStorage

from console.demo.loopback import LOOPBACK, free_port, listens
from console.leash import leashed
from ichor.errors import StartError
from ichor.peers.dimse import Peer, echo

if TYPE_CHECKING:
    from pathlib import Path

STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."  # PS3.4 B.5: every SR storage class begins so
START_S = 30.0
STOP_S = 10.0


class Pacs(Protocol):
    """Where the demo's results go."""

    title: str
    ae_title: str
    port: int

    def start(self) -> None:
        """Start it and wait until it answers C-ECHO."""

    def stop(self) -> None:
        """End it."""

    def kinds(self) -> list[str]:
        """Give the kind of every object that arrived: seg, sr, summary, or its SOP class."""


@dataclass(slots=True, kw_only=True)
class PacsProcess:
    """What both kinds have in common: one child on a leash, with a log."""

    argv: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, peer: Peer) -> None:
        """Start the program, wait for its port, and have it answer a C-ECHO."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                leashed(self.argv, parent_pid=os.getpid()), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until_s = time.monotonic() + START_S
        while not listens(peer.port):
            if self.process.poll() is not None or time.monotonic() > until_s:
                raise StartError(f"The demo's PACS did not start; its log is {self.log}.")
            time.sleep(0.1)
        echo(peer)

    def stop(self) -> None:
        """Ask it to end, then insist."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class OrthancPacs:
    """Orthanc, told to take associations from the demo's node on this machine only."""

    def __init__(self, folder: Path, *, program: str, node_ae_title: str, node_port: int) -> None:
        self.title = "Orthanc"
        self.ae_title = "ORTHANC"
        self.port = free_port()
        self.http_port = free_port()
        self.peer = loopback_peer(self.port, self.ae_title, calling_ae_title=node_ae_title)
        configuration = {
            "Name": "Ichor demo",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [],
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomPort": self.port,
            "DicomAet": self.ae_title,
            # Orthanc cannot bind its DICOM port to one address, so it is told whom to refuse.
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": False,
            "DicomAlwaysAllowFind": False,
            "DicomAlwaysAllowGet": False,
            "DicomModalities": {"ichor": [node_ae_title, LOOPBACK, node_port]},
        }
        folder.mkdir(parents=True)
        settings = folder / "orthanc.json"
        settings.write_text(json.dumps(configuration), encoding="utf-8")
        self.process = PacsProcess(argv=[program, str(settings)], log=folder / "orthanc.log")

    def start(self) -> None:
        """Start it and wait until it answers C-ECHO."""
        self.process.start(self.peer)

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    def kinds(self) -> list[str]:
        """Ask its REST interface for the SOP class of every instance."""
        return [
            kind_of(self.get(f"/instances/{name}/metadata/SopClassUid")) for name in json.loads(self.get("/instances"))
        ]

    def get(self, path: str) -> str:
        """Get one resource, past any proxy."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{LOOPBACK}:{self.http_port}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
        return text


class SmallPacs:
    """The small storage and query SCP of `console.demo.small_pacs`, bound to loopback."""

    def __init__(self, folder: Path, *, node_ae_title: str) -> None:
        self.title = "small storage SCP"
        self.ae_title = "DEMOPACS"
        self.port = free_port()
        self.peer = loopback_peer(self.port, self.ae_title, calling_ae_title=node_ae_title)
        self.storage = folder / "storage"
        self.storage.mkdir(parents=True)
        argv = [sys.executable, "-P", "-m", "console.demo.small_pacs", self.ae_title, str(self.port), str(self.storage)]
        self.process = PacsProcess(argv=argv, log=folder / "pacs.log")

    def start(self) -> None:
        """Start it and wait until it answers C-ECHO."""
        self.process.start(self.peer)

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    def kinds(self) -> list[str]:
        """Read the SOP class of every stored file."""
        return [
            kind_of(str(dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID))
            for path in sorted(self.storage.glob("*.dcm"))
        ]


def find_pacs(folder: Path, *, node_ae_title: str, node_port: int) -> Pacs:
    """Describe the best PACS that this machine has; the caller starts and stops it."""
    program = shutil.which("Orthanc")
    if program is not None:
        return OrthancPacs(folder, program=program, node_ae_title=node_ae_title, node_port=node_port)
    return SmallPacs(folder, node_ae_title=node_ae_title)


def kind_of(sop_class_uid: str) -> str:
    """Name the kind of a result object by its SOP class."""
    if sop_class_uid == SegmentationStorage:
        return "seg"
    if sop_class_uid == SecondaryCaptureImageStorage:
        return "summary"
    return "sr" if sop_class_uid.startswith(STRUCTURED_REPORTS) else sop_class_uid


def loopback_peer(port: int, ae_title: str, *, calling_ae_title: str) -> Peer:
    """Give the address of a peer on this machine."""
    return Peer(host=LOOPBACK, port=port, ae_title=ae_title, calling_ae_title=calling_ae_title, timeout_s=5.0)
