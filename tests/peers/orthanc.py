"""A real PACS: Debian's Orthanc with its DICOMweb plug-in, on free ports, with its data in a folder of the test's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.peers.programs import LOOPBACK, Program, free_port, missing, require

PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))
EVERYTHING = "?expand&limit=100000&since=0"


class Orthanc:
    """Orthanc as a DICOM and DICOMweb peer; keeps the first copy of an instance unless told to overwrite."""

    def __init__(
        self, folder: Path, *, overwrite_instances: bool = False, modalities: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        self.ae_title = "ORTHANC"
        self.name = f"ichor-test-{os.getpid()}-{free_port()}"
        self.host = LOOPBACK
        self.dicom_port = free_port()
        self.http_port = free_port()
        program = require("Orthanc")
        configuration = {
            "Name": self.name,
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(dicomweb_plugin())],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "RemoteAccessAllowed": False,  # HTTP from the loopback address only
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowFind": True,
            "OverwriteInstances": overwrite_instances,
            "StableAge": 1,
            "DicomModalities": dict(modalities) if modalities is not None else {},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self.program = Program([program, str(folder / "orthanc.json")], log=folder / "orthanc.log")

    @property
    def url(self) -> str:
        """The root of its REST interface."""
        return f"http://{self.host}:{self.http_port}"

    def start(self) -> None:
        """Start it and make sure that it is ours that answers."""
        self.program.start()
        self.program.wait_for_port(self.http_port)
        self.program.wait_for_port(self.dicom_port)
        name = self.get("/system")["Name"]
        if name != self.name:
            raise RuntimeError(f"another Orthanc answers on port {self.http_port}: {name}")

    def stop(self) -> None:
        """End it; what it stored stays for the next start."""
        self.program.stop()

    def get(self, path: str) -> Any:
        """Get JSON from its REST interface."""
        return httpx.get(self.url + path, timeout=30).raise_for_status().json()

    def file(self, instance: str) -> bytes:
        """Get the DICOM file of one of Orthanc's instances."""
        return httpx.get(f"{self.url}/instances/{instance}/file", timeout=30).raise_for_status().content

    def instances(self) -> dict[str, str]:
        """Give SOP Instance UID → Orthanc's own name of every stored instance."""
        entries = self.get(f"/instances{EVERYTHING}")
        return {entry["MainDicomTags"]["SOPInstanceUID"]: entry["ID"] for entry in entries}

    def modalities(self) -> dict[str, int]:
        """Give modality → number of instances."""
        counts: dict[str, int] = {}
        for series in self.get(f"/series{EVERYTHING}"):
            modality = series["MainDicomTags"].get("Modality", "")
            counts[modality] = counts.get(modality, 0) + len(series["Instances"])
        return counts


def dicomweb_plugin() -> Path:
    """Find the DICOMweb plug-in; without it the test is skipped here and fails in CI."""
    plugins = [plugin for folder in PLUGIN_FOLDERS for plugin in sorted(folder.glob("libOrthancDicomWeb.so*"))]
    if not plugins:
        missing("Orthanc's DICOMweb plug-in is not installed")
    return plugins[0]
