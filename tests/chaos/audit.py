"""The books after a chaos run: what was sent, what the node holds, what the two PACS hold, who was called."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import pydicom

from ichor.catalogue import inputs, views
from ichor.catalogue.records import DeliveryRow, ResultRow, StudyDetail
from ichor.errors import IchorError
from tests.chaos.deployment import Deployment
from tests.chaos.studies import SentStudy, data_set_sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Counts, and the sentences that say what is wrong."""

    studies: int
    confirmed: int
    instances_sent: int
    instances_held: int
    objects: int
    object_sends: int
    """C-STOREs of results that the recording SCP saw; more than there are objects where one was sent again."""
    alerts: int
    alert_posts: int
    superseded: int
    faults: tuple[str, ...]


def current(detail: StudyDetail) -> ResultRow:
    """Give the result that stands; raise LookupError where there is none."""
    standing = [row for row in detail.results if row.superseded_by_id is None]
    if len(standing) != 1:
        raise LookupError(f"{len(standing)} results stand")
    return standing[0]


def deliveries_of(detail: StudyDetail, result: ResultRow) -> list[DeliveryRow]:
    """Give the deliveries of one result."""
    return [row for row in detail.deliveries if row.result_id == result.id]


def settled(deployment: Deployment, studies: Sequence[SentStudy]) -> dict[str, str]:
    """Give what is still open: Study Instance UID → why."""
    return {study.study_instance_uid: why for study in studies if (why := _open(deployment, study)) is not None}


def _open(deployment: Deployment, study: SentStudy) -> str | None:
    try:
        with deployment.catalogue.read() as session:
            detail = views.study_detail(session, study.study_instance_uid)
    except IchorError as error:
        return error.code
    if detail.study.state != "analysed":
        return detail.study.state
    if any(job.state in {"ready", "running"} for job in detail.jobs):
        return "jobs open"
    try:
        standing = current(detail)
    except LookupError as error:
        return str(error)
    states = {row.destination: row.state for row in deliveries_of(detail, standing)}
    if states != {"orthanc": "confirmed", "recorder": "confirmed"}:
        return f"deliveries {states}"
    return None


def audit(deployment: Deployment, studies: Sequence[SentStudy]) -> Audit:
    """Compare the books."""
    faults = [f"{uid}: {why}" for uid, why in settled(deployment, studies).items()]
    confirmed = len(studies) - len(faults)
    details = {}
    with deployment.catalogue.read() as session:
        for study in studies:
            try:
                details[study.study_instance_uid] = views.study_detail(session, study.study_instance_uid)
            except IchorError:
                continue
    held = _held(deployment, studies, details, faults)
    objects = _objects(deployment, details, faults)
    posts = _alerts(deployment, studies, details, faults)
    faults += [f"the recording SCP was sent two contents of {uid}" for uid in deployment.recorder.second_contents()]
    return Audit(
        studies=len(studies),
        confirmed=confirmed,
        instances_sent=sum(len(study.paths) for study in studies),
        instances_held=held,
        objects=objects,
        object_sends=sum(len(sums) for sums in deployment.recorder.contents.values()),
        alerts=len(posts),
        alert_posts=sum(map(len, posts.values())),
        superseded=sum(row.superseded_by_id is not None for detail in details.values() for row in detail.results),
        faults=tuple(faults),
    )


def _held(
    deployment: Deployment, studies: Sequence[SentStudy], details: dict[str, StudyDetail], faults: list[str]
) -> int:
    """Count the instances that were sent and lie in the spool, byte for byte, with a row and in the result."""
    held = 0
    for study in studies:
        if study.study_instance_uid not in details:
            continue
        with deployment.catalogue.read() as session:
            rows = {row.sop_instance_uid: row for row in inputs.settled_instances(session, study.study_instance_uid)}
        for uid, sent_sum in study.data_set_sums.items():
            if uid not in rows:
                faults.append(f"slice {uid} has no row")
            elif data_set_sum(rows[uid].path.read_bytes()) != sent_sum:
                faults.append(f"slice {uid} lies in the spool with another content")
            else:
                held += 1
        analysed = json.loads(current(details[study.study_instance_uid]).summary_json)["source_instances"]
        if analysed != len(study.paths):
            faults.append(f"{study.study_instance_uid}: {analysed} of {len(study.paths)} slices were analysed")
    return held


def _objects(deployment: Deployment, details: dict[str, StudyDetail], faults: list[str]) -> int:
    """Count the objects of the results that stand, and hold both PACS to the bytes that were written."""
    in_orthanc = deployment.orthanc.instances()
    count = 0
    for detail in details.values():
        standing = current(detail)
        delivered = {item.object_id for row in deliveries_of(detail, standing) for item in row.objects}
        for item in standing.objects:
            if item.id not in delivered:
                continue
            count += 1
            written = item.path.read_bytes()
            if set(deployment.recorder.contents.get(item.sop_instance_uid, [])) != {data_set_sum(written)}:
                faults.append(f"{item.kind} {item.sop_instance_uid}: the recording SCP has something else")
            name = in_orthanc.get(item.sop_instance_uid)
            if name is None:
                faults.append(f"{item.kind} {item.sop_instance_uid} is not in Orthanc")
            elif pydicom.dcmread(BytesIO(deployment.orthanc.file(name))) != pydicom.dcmread(BytesIO(written)):
                faults.append(f"{item.kind} {item.sop_instance_uid}: Orthanc has something else")
    return count


def _alerts(
    deployment: Deployment, studies: Sequence[SentStudy], details: dict[str, StudyDetail], faults: list[str]
) -> dict[str, list[bytes]]:
    """Give alert id → bodies that the webhook accepted; every bleed must be among them, and nothing else."""
    posts: dict[str, list[bytes]] = defaultdict(list)
    messages: dict[tuple[str, bool], set[bytes]] = defaultdict(set)
    for request in deployment.webhook.accepted():
        said = json.loads(request.body)
        posts[said["id"]].append(request.body)
        messages[said["id"], said["provisional"]].add(request.body)  # a provisional one and its final one share an id
    faults += [
        f"alert {uid} came with {len(bodies)} bodies (provisional: {provisional})"
        for (uid, provisional), bodies in messages.items()
        if len(bodies) > 1
    ]
    known: set[str] = set()
    for study in studies:
        detail = details.get(study.study_instance_uid)
        if detail is None:
            continue
        known.update(alert.alert_uid for alert in detail.alerts)
        standing = current(detail)
        called = [alert for alert in detail.alerts if alert.result_id == standing.id and alert.alert_uid in posts]
        if study.bleeds and not called:
            faults.append(f"{study.study_instance_uid}: nobody was told of the bleed")
        if not study.bleeds and detail.alerts:
            faults.append(f"{study.study_instance_uid}: an alert without a bleed")
    faults += [f"alert {uid} belongs to no result" for uid in posts.keys() - known]
    return posts
