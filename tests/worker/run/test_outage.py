"""A PACS that is away for a whole night: when it is back everything arrives, urgent studies first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import func, select, update

from ichor.catalogue import results
from ichor.catalogue.engine import database_now
from ichor.catalogue.lanes import StatRule, put_into_lane
from ichor.catalogue.records import NewDelivery, NewResult
from ichor.catalogue.rows import study_by_uid
from ichor.catalogue.schema import JobEntry
from ichor.identity import derive_uid
from tests.painting import PaintedSeries
from tests.peers.programs import LOOPBACK, free_port, wait_until
from tests.peers.recording import RecordingScp
from tests.worker.run.node import QUICK_JOBS, Node
from tests.worker.run.test_delivery import KINDS, write_object

ROUTINE, URGENT = 4, 2


def file_study(node: Node, slice_path: Path, folder: Path, number: int, *, urgent: bool) -> str:
    """File one slice of a study of its own, sent by the emergency scanner or not."""
    header = pydicom.dcmread(slice_path)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(header, keyword, derive_uid("outage", keyword, str(number)))
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.StudyDescription = "STROKE" if urgent else "HEAD"
    path = folder / f"{number}.dcm"
    header.save_as(path, enforce_file_format=True)
    study = node.file([path])
    with node.catalogue.write() as session:
        row = study_by_uid(session, study, lock=True)
        put_into_lane(session, row, StatRule(words=("stroke",)), at=database_now(session))
    return study


def publish(node: Node, study: str) -> list[str]:
    """Record a result with a SEG, an SR and a summary for the PACS; give their UIDs."""
    folder = node.settings.results_dir / study
    folder.mkdir(parents=True)
    objects = tuple(write_object(folder / f"{kind}.dcm", study, kind) for kind in KINDS)
    new = NewResult(
        result_uid=derive_uid("result", study),
        identity_digest=study,
        study_instance_uid=study,
        job_id=None,
        input_version=1,
        status="analysed",
        conclusion="none_marked",
        summary_json="{}",
        directory=folder,
        model_digest="",
        provisional=False,
        supersedes_id=None,
        objects=objects,
        deliveries=(NewDelivery(destination="pacs", kinds=tuple(KINDS)),),
        alerts=(),
    )
    with node.catalogue.write() as session:
        results.record_result(session, new)
    return [item.sop_instance_uid for item in objects]


# pynetdicom forgets to close the socket of a refused connection
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_after_an_outage_everything_arrives_and_urgent_studies_first(
    make_node: Callable[..., Node], bleed: PaintedSeries, tmp_path: Path
) -> None:
    """One delivery finds the PACS back, and all others follow at once: urgent ones, then the rest in their order."""
    pacs = RecordingScp(port=free_port())
    place = {"name": "pacs", "host": LOOPBACK, "port": pacs.port, "ae_title": pacs.ae_title, "timeout_s": 5.0}
    quick = {**QUICK_JOBS, "backoff_base_s": 3600.0, "backoff_max_s": 3600.0}
    node = make_node(destinations=(place,), jobs=quick)
    studies = [
        file_study(node, bleed.paths[0], tmp_path, number, urgent=number >= ROUTINE)
        for number in range(ROUTINE + URGENT)
    ]
    sent = {study: publish(node, study) for study in studies}
    assert node.drain("deliver") == len(studies)
    assert node.drain("deliver") == 0, "every delivery waits for its hour"

    pacs.start()
    try:
        with node.catalogue.write() as session:  # the hour of the first one has come
            first = select(func.min(JobEntry.id)).where(JobEntry.kind == "deliver").scalar_subquery()
            session.execute(update(JobEntry).where(JobEntry.id == first).values(not_before=database_now(session)))
        wait_until(
            lambda: node.drain("deliver") >= 0 and all(states(node, study) == ["confirmed"] for study in studies),
            what="all confirmed",
        )
    finally:
        pacs.stop()
    arrived = list(dict.fromkeys(next(s for s, uids in sent.items() if uid in uids) for uid in pacs.contents))
    assert arrived == [studies[0], *studies[ROUTINE:], *studies[1:ROUTINE]]
    assert pacs.second_contents() == {}
    assert sum(map(len, pacs.contents.values())) == len(studies) * len(KINDS)


def states(node: Node, study: str) -> list[str]:
    return [delivery.state for delivery in node.detail(study).deliveries]
