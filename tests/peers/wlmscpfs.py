"""dcmtk's wlmscpfs: a modality worklist written by other people, whose entries are files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from tests.peers.programs import LOOPBACK, Program, free_port, require

if TYPE_CHECKING:
    from pathlib import Path


class Wlmscpfs:
    """A worklist with one scheduled head CT per `order`."""

    def __init__(self, folder: Path) -> None:
        self.ae_title = "WORKLIST"
        self.host = LOOPBACK
        self.port = free_port()
        self._entries = folder / self.ae_title
        self._entries.mkdir(parents=True)
        (self._entries / "lockfile").touch()
        command = [require("wlmscpfs"), "--single-process", "--data-files-path", str(folder), str(self.port)]
        self.program = Program(command, log=folder / "wlmscpfs.log")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.program.start()
        self.program.wait_for_port(self.port)

    def stop(self) -> None:
        """End it."""
        self.program.stop()

    def order(self, accession_number: str, priority: str) -> None:
        """Schedule a CT of the head."""
        step = Dataset()
        step.Modality, step.ScheduledStationAETitle = "CT", "CT1"
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "20260301", "120000"
        step.ScheduledPerformingPhysicianName = "Marked^Physician"
        step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID = "CT head", "S1"
        entry = Dataset()
        entry.AccessionNumber, entry.PatientID, entry.PatientName = accession_number, "P1", "Marked^Patient"
        entry.PatientBirthDate, entry.PatientSex = "19500102", "F"
        entry.StudyInstanceUID, entry.RequestedProcedureID = generate_uid(), "R1"
        entry.RequestedProcedureDescription, entry.RequestedProcedurePriority = "CT head", priority
        entry.ScheduledProcedureStepSequence = [step]
        entry.file_meta = FileMetaDataset()
        entry.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        entry.file_meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")  # dcmtk's own, for worklist files
        entry.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        entry.save_as(self._entries / f"{accession_number}.wl", enforce_file_format=True)
