"""A node's ground without its processes: settings, catalogue and store in a folder, and studies filed into them."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydicom

from ichor.catalogue import intake, settling, views
from ichor.catalogue.engine import Catalogue, database_now
from ichor.catalogue.records import JobKind, Queue, ReceivedInstance, StudyDetail
from ichor.jobs import celery_client
from ichor.settings import Settings
from ichor.store import Store
from models.segmenter import Segmenter
from tests.worker.run.threshold import Threshold
from worker.loop import Handler, Worker
from worker.process import WorkerProcess

QUICK_JOBS = {"lease_ttl_s": 2.0, "heartbeat_s": 0.3, "backoff_base_s": 0.05, "backoff_max_s": 0.1, "reconcile_s": 0.2}


class Node:
    """The ground under a worker."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = {"jobs": QUICK_JOBS, "delivery": {"hold": False}, **settings}
        self.settings = Settings(data_dir=data_dir, **values)
        self.catalogue = Catalogue.open(self.settings.resolved_catalogue_url)
        self.store = Store(data_dir)
        self.client = celery_client(self.settings)

    def file(self, paths: Sequence[Path]) -> str:
        """Put instances into spool and catalogue as the listener does; return the study's UID."""
        received = [self._receive(path) for path in paths]
        with self.catalogue.write() as session:
            intake.record_instances(session, received)
        return received[0].study_instance_uid

    def settle(self, *, study: bool = True) -> int:
        """Let every series, and with `study` every study, count as quiet; return the number of jobs enqueued."""
        with self.catalogue.write() as session:
            later = database_now(session) + timedelta(hours=1)
            return settling.settle(session, settle_s=1.0, study_settle_s=1.0 if study else 1e6, now=later)

    def detail(self, study_instance_uid: str) -> StudyDetail:
        """Give everything about one study."""
        with self.catalogue.read() as session:
            return views.study_detail(session, study_instance_uid)

    def drain(self, queue: Queue, segmenter: Segmenter | None = None) -> int:
        """Do what is ready, in this process."""
        loaded = Threshold() if segmenter is None else segmenter
        with WorkerProcess(self.settings, queue, self.client, lambda: loaded) as process:
            return process.drain()

    def worker(self, queue: Queue, handlers: Mapping[JobKind, Handler], stop: threading.Event | None = None) -> Worker:
        """Give a loop with handlers of the test's own."""
        event = threading.Event() if stop is None else stop
        return Worker(self.catalogue, self.settings.jobs, queue, handlers, stop=event, after_job=lambda _job: None)

    def close(self) -> None:
        """Close the catalogue."""
        self.catalogue.close()
        self.client.close()

    def _receive(self, path: Path) -> ReceivedInstance:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        place = self.store.spool_path(header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
        content = place.read_bytes()
        with self.catalogue.read() as session:
            now = database_now(session)
        return ReceivedInstance(
            sop_instance_uid=str(header.SOPInstanceUID),
            sop_class_uid=str(header.SOPClassUID),
            series_instance_uid=str(header.SeriesInstanceUID),
            study_instance_uid=str(header.StudyInstanceUID),
            modality=str(header.Modality),
            transfer_syntax_uid=str(header.file_meta.TransferSyntaxUID),
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            path=place,
            received_at=now,
            calling_ae="SENDER",
            series_number=number if isinstance(number := header.get("SeriesNumber"), int) else None,
            series_description=str(header.get("SeriesDescription", "")),
            patient_id=str(header.get("PatientID", "")),
            patient_name=str(header.get("PatientName", "")),
            accession_number=str(header.get("AccessionNumber", "")),
            study_date=str(header.get("StudyDate", "")),
            study_description=str(header.get("StudyDescription", "")),
        )
