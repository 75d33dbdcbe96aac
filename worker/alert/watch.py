"""Nobody is left in silence: alerts that nobody acknowledges go on, studies without a result are told of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import structlog

from ichor.catalogue import escalation, notices
from ichor.identity import derive_uid

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.escalation import Unanswered
    from ichor.catalogue.notices import Trouble
    from ichor.settings import AlertChannel, Settings

log = structlog.get_logger(__name__)

IDENTIFIERS = ("accession_number", "study_instance_uid")


def tick(catalogue: Catalogue, settings: Settings) -> int:
    """Escalate and tell; return how many messages that made. Raises CatalogueUnreachable."""
    return _escalate(catalogue, settings) + _tell(catalogue, settings)


def _escalate(catalogue: Catalogue, settings: Settings) -> int:
    by_name = {channel.name: channel for channel in settings.alerts}
    made = 0
    for channel in settings.finding_channels:
        if not channel.escalate_to:
            continue
        with catalogue.read() as session:
            waiting = escalation.unanswered(session, channel.name)
        for alert in waiting:
            name = next((name for name in channel.escalate_to if name not in alert.told), None)
            if name is None or alert.silent_s < channel.escalate_after_s:
                continue
            body = escalated_body(alert, by_name[name])
            with catalogue.write() as session:
                made += escalation.escalate(session, alert.alert_id, channel=name, body=body)
            log.warning("alert_escalated", channel=channel.name, to=name)
    return made


def escalated_body(alert: Unanswered, channel: AlertChannel) -> bytes:
    """Give the same message, under the same id, with the identifiers that this channel may carry and no others."""
    body: dict[str, Any] = {key: value for key, value in json.loads(alert.body).items() if key not in IDENTIFIERS}
    allowed = {"accession_number": alert.accession_number, "study_instance_uid": alert.study_instance_uid}
    return _canonical(body | {name: allowed[name] for name in channel.include})


def _tell(catalogue: Catalogue, settings: Settings) -> int:
    made = 0
    for channel in settings.alerts:
        if channel.role != "administrator":
            continue
        older_than_s = settings.watch.unresolved_after_min * 60.0
        with catalogue.read() as session:
            troubles = (
                *notices.unresolved(session, channel.name, older_than_s=older_than_s),
                *notices.undelivered(session, channel.name, older_than_s=older_than_s),
            )
        for trouble in troubles:
            body = trouble_body(trouble, channel, settings)
            with catalogue.write() as session:
                made += notices.record(session, trouble, channel=channel.name, body=body)
            log.warning("study_in_trouble", kind=trouble.kind, channel=channel.name, state=trouble.state)
    return made


def trouble_body(study: Trouble, channel: AlertChannel, settings: Settings) -> bytes:
    """Say what is wrong with a study, with the identifiers that the channel may carry."""
    base = settings.base_url
    allowed = {"accession_number": study.accession_number, "study_instance_uid": study.study_instance_uid}
    named = "study_instance_uid" in channel.include
    body: dict[str, Any] = {
        "schema": 1,
        "id": derive_uid("notice", study.kind, study.study_instance_uid, str(study.input_version), channel.name),
        "event": f"study_{study.kind}",
        "missing_at": list(study.names),
        "state": study.state,
        "received_at": study.last_received_at.isoformat(),
        "station": settings.dicom.ae_title,
        "link": f"{base}/studies/{study.study_instance_uid}" if named else f"{base}/",
        "research_use_only": True,
    }
    return _canonical(body | {name: allowed[name] for name in channel.include})


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
