"""A node whose clock the test turns: real listener, catalogue, workers, archive and alert receiver, and small heads.

Pauses and settling are moments that the test names, so nothing waits and nothing depends on how fast the machine is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pydicom
from pydantic import SecretStr
from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import select

from ichor.catalogue import settling, views
from ichor.catalogue.engine import Catalogue, database_now
from ichor.catalogue.records import StudyDetail
from ichor.catalogue.schema import Instance
from ichor.jobs import celery_client
from ichor.sections import CompletenessSettings, DeliverySettings, DicomSettings, DiskSettings, JobSettings
from ichor.settings import DimseDestination, Hl7Destination, Settings, WebhookChannel
from listener.dimse import serving
from listener.intake import receiving
from tests.listener.running import Sender
from tests.painting import LEFT_FRONTAL_GE, paint
from tests.peers.mllp import MllpServer
from tests.peers.programs import wait_until
from tests.peers.recording import RecordingScp
from tests.peers.webhook import WebhookServer
from tests.worker.run.node import QUICK_JOBS
from tests.worker.run.threshold import Threshold
from worker.process import WorkerProcess

SETTLE_S, STUDY_SETTLE_S = 10_000.0, 30_000.0
"""Far beyond what the test takes, so that only the moments it names count."""
PIXELS_ARE = 2
"""Every second pixel of a real head: quick, and still a head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The slices of a small head with a bleed, foot to head; every study is made of copies."""

    slices: tuple[Dataset, ...]

    def series(self, *, study: str | None = None, **attributes: Any) -> list[Dataset]:
        """Copy it into a series of its own, scanned just now."""
        now = datetime.now(tz=UTC).astimezone()
        study_uid, series_uid = study or generate_uid(), generate_uid()
        made = []
        for ds in copy.deepcopy(self.slices):
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study_uid, series_uid, generate_uid()
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.AcquisitionDate, ds.AcquisitionTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
            ds.PatientName, ds.PatientID, ds.AccessionNumber = "First^Name", "P-1", "ACC-1"
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)
            made.append(ds)
        return made


def small_head(source: Path, folder: Path) -> Head:
    """Paint a bleed of about 15 mL into a real head, and thin out its pixels."""
    slices = []
    for path in paint(source, folder, LEFT_FRONTAL_GE).paths:
        ds = pydicom.dcmread(path)
        pixels = ds.pixel_array[::PIXELS_ARE, ::PIXELS_ARE]
        ds.Rows, ds.Columns = pixels.shape
        ds.PixelSpacing = [float(value) * PIXELS_ARE for value in ds.PixelSpacing]
        ds.PixelData = np.ascontiguousarray(pixels).tobytes()
        slices.append(ds)
    return Head(slices=tuple(slices))


def renamed(slices: Sequence[Dataset], **attributes: str) -> list[Dataset]:
    """Give the same instances under another registration."""
    made = copy.deepcopy(list(slices))
    for ds in made:
        for keyword, value in {
            "PatientName": "Second^Name",
            "PatientID": "P-2",
            "AccessionNumber": "ACC-2",
            **attributes,
        }.items():
            setattr(ds, keyword, value)
    return made


class ArrivalNode:
    """The node and its peers; a context manager."""

    def __init__(
        self, folder: Path, redis_url: str, pacs: RecordingScp, webhook: WebhookServer, ris: MllpServer
    ) -> None:
        self.pacs, self.webhook, self.ris = pacs, webhook, ris
        self.settings = Settings(
            data_dir=folder / "data",
            redis_url=redis_url,
            dicom=DicomSettings(port=0),
            disk=DiskSettings(min_free_gb=0),
            completeness=CompletenessSettings(settle_s=SETTLE_S, study_settle_s=STUDY_SETTLE_S),
            jobs=JobSettings.model_validate(QUICK_JOBS),
            delivery=DeliverySettings(hold=False),
            destinations=(
                DimseDestination(name="pacs", host=pacs.host, port=pacs.port, ae_title=pacs.ae_title),
                Hl7Destination(name="ris", host=ris.host, port=ris.port),
            ),
            alerts=(
                WebhookChannel(name="on-call", url=webhook.url, secret=SecretStr("s"), include=("accession_number",)),
            ),
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self.catalogue = Catalogue.open(self.settings.resolved_catalogue_url)
        self._stack.callback(self.catalogue.close)
        client = celery_client(self.settings)
        self._stack.callback(client.close)
        receiver = enter(receiving(self.settings, self.catalogue))
        self.sender = Sender(int(enter(serving(self.settings.dicom, receiver)).server_address[1]))
        self._workers = {
            queue: enter(WorkerProcess(self.settings, queue, client, Threshold)) for queue in ("analyse", "deliver")
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, slices: Sequence[Dataset]) -> None:
        """Send over one association, and wait until the catalogue knows what came.

        On a busy machine pynetdicom's user now and then misses an answer; as any sender would, it sends again.
        """
        left = list(slices)
        for _ in range(5):
            with self.sender.association() as association:
                while left and association.is_established:
                    answer = association.send_c_store(left[0])
                    if "Status" not in answer:
                        break
                    assert answer.Status == 0x0000
                    del left[0]
            if not left:
                break
        assert not left
        self._filed()

    def pause(self, seconds: float = 0.8 * SETTLE_S) -> None:
        """Let time pass in which a series does not settle yet; nothing may come of it."""
        assert self.settle(seconds) == 0

    def settle(self, seconds: float = SETTLE_S + 1000.0) -> int:
        """Let time pass, so that what is quiet settles; give the number of analyses asked for."""
        with self.catalogue.write() as session:
            completeness = self.settings.completeness
            return settling.settle(
                session,
                settle_s=completeness.settle_s,
                study_settle_s=completeness.study_settle_s,
                now=database_now(session) + timedelta(seconds=seconds),
            )

    def work(self) -> None:
        """Let the workers do what is ready."""
        for worker in self._workers.values():
            worker.drain()

    def work_on(self, queue: str) -> None:
        """Let the workers of one queue do what is ready."""
        self._workers[queue].drain()

    def quiet(self) -> None:
        """Let everything settle, close and be sent."""
        self.settle()
        self.work()
        self.settle(STUDY_SETTLE_S + 1000.0)
        self.work()

    def detail(self, slices: Sequence[Dataset]) -> StudyDetail:
        """Give what the catalogue knows of the study of these slices."""
        with self.catalogue.read() as session:
            return views.study_detail(session, slices[0].StudyInstanceUID)

    def alerts(self, since: int = 0) -> list[tuple[str, str | None]]:
        """Give event and accession number of the messages that the webhook took."""
        bodies = [json.loads(received.body) for received in self.webhook.received[since:]]
        return [(body["event"], body.get("accession_number")) for body in bodies]

    def told_ris(self, since: int = 0) -> list[tuple[str, bool]]:
        """Give patient ID, and whether it withdraws, of the messages that the information system took."""
        said = []
        for message in self.ris.messages[since:]:
            patient = next(segment for segment in message.split("\r") if segment.startswith("PID|"))
            said.append((patient.split("|")[3].partition("^")[0], "registered again" in message))
        return said

    def _filed(self) -> None:
        spool = self.settings.data_dir / "spool"

        def known() -> bool:
            with self.catalogue.read() as session:
                paths = set(session.scalars(select(Instance.path)))
            return {str(path) for path in spool.rglob("*.dcm")} <= paths

        wait_until(known, timeout_s=60, what="the catalogue knows what came")
