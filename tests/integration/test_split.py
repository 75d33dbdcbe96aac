"""The node in parts with real peers: released by hand, acknowledged by a person, and silent about the patient."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from console.users import password_hash
from tests.integration.split import SplitNode
from tests.painting import LEFT_FRONTAL_GE, PaintedSeries, paint
from tests.peers.mail import MailServer
from tests.peers.programs import LOOPBACK, wait_until
from tests.peers.recording import RecordingScp
from tests.peers.redis import RedisServer
from tests.peers.webhook import WebhookServer

PASSWORD = "correct horse battery"
PATIENT = {
    "PatientName": "Marked^Patient",
    "PatientID": "MARKED-ID",
    "AccessionNumber": "MARKED-ACC",
    "PatientBirthDate": "19330303",
    "ReferringPhysicianName": "Marked^Referrer",
    "InstitutionName": "MARKED-HOSPITAL",
    "StudyDescription": "MARKED head",
}


@pytest.fixture
def marked(test_data_dir: Path, tmp_path: Path) -> PaintedSeries:
    """A bleed, acquired just now, whose every identifier is marked."""
    now = datetime.now(tz=UTC).astimezone()
    acquired = {"AcquisitionDate": now.strftime("%Y%m%d"), "AcquisitionTime": now.strftime("%H%M%S")}
    return paint(test_data_dir / "ge-hispeed-tilt", tmp_path / "ct", LEFT_FRONTAL_GE, attributes=PATIENT | acquired)


def toml(recorder: RecordingScp, webhook: WebhookServer, mail: MailServer) -> str:
    return (
        f'[delivery]\nhold = true\n[[destinations]]\nname = "pacs"\nhost = "{LOOPBACK}"\nport = {recorder.port}\n'
        f'ae_title = "{recorder.ae_title}"\n'
        f'[[alerts]]\nname = "on-call"\nurl = "{webhook.url}"\nsecret = "s"\n'
        f'[[alerts]]\nname = "mail"\ntype = "smtp"\nhost = "{mail.host}"\nport = {mail.port}\ntls = "none"\n'
        f'sender = "ichor@hospital.example"\nto = ["on-call@hospital.example"]\n'
        f'[[users]]\nname = "Dr Night"\npassword_hash = "{password_hash(PASSWORD)}"\n'
    )


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_held_released_acknowledged_and_silent_about_the_patient(
    marked: PaintedSeries,
    short_dir: Path,
    redis_server: RedisServer,
    recording_scp: RecordingScp,
    webhook_server: WebhookServer,
) -> None:
    """Through every process: held until released by name, acknowledged by a user, no identifier where none belongs."""
    mail = MailServer()
    mail.start()
    with ExitStack() as stack:
        stack.callback(mail.stop)
        node = SplitNode(short_dir, redis_server, toml(recording_scp, webhook_server, mail))
        node.start(stack)
        node.send(list(marked.paths))
        uid = marked.study_instance_uid

        def states(what: str) -> list[str]:
            return [entry["state"] for entry in node.study(uid).get(what, [])]

        wait_until(lambda: states("alerts") == ["held", "held"], timeout_s=120, what="alerts held")
        assert states("deliveries") == ["held"]
        for path in ("/", f"/studies/{uid}"):
            assert "Commissioning" in httpx.get(node.url + path, timeout=30).text
        assert "1 held message released to pacs" in node.ichor("release", "pacs")
        wait_until(lambda: states("deliveries") == ["confirmed"], timeout_s=120, what="delivery confirmed")
        assert (webhook_server.received, mail.mails) == ([], [])
        node.ichor("release", "on-call")
        node.ichor("release", "mail")
        wait_until(lambda: states("alerts") == ["sent", "sent"], timeout_s=120, what="alerts sent")

        body = json.loads(webhook_server.accepted()[0].body)
        assert body["link"].startswith(f"{node.url}/alerts/")
        credentials = {"by": "Dr Night", "password": PASSWORD}
        answer = httpx.post(f"{node.url}/api/alerts/{body['id']}/acknowledge", json=credentials, timeout=30)
        assert (answer.status_code, answer.json()["acknowledged_by"]) == (200, "Dr Night")
        assert "Dr Night" in node.ichor("study", uid, "--json")
        metrics = httpx.get(f"{node.url}/metrics", timeout=30).text
        assert 'ichor_alerts_sent_total{channel="on-call",outcome="sent"' in metrics
        assert "ichor_stage_seconds_count" in metrics
        said = {name: part.output() for name, part in node.parts.items()}
    assert "ichor.wake" in said["monitor"]  # the messages were seen
    assert "job_started" in said["analyse"]
    assert "delivery_closed" in said["deliver"]
    said["metrics"] = metrics
    said["webhook"] = "".join(f"{call.headers}{call.body.decode()}" for call in webhook_server.received)
    said["mail"] = "".join(message.as_string() for message in mail.mails)
    instances = set(marked.painted_ji)
    for name, text in said.items():
        for secret in ("marked", "19330303", uid, marked.series_instance_uid, PASSWORD, *instances):
            assert secret not in text.lower(), f"{secret} stands in {name}"
