from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ichor.errors import PeerRejected, PeerUnreachable
from ichor.settings import SmtpChannel
from tests.peers.mail import MailServer
from tests.peers.programs import free_port
from worker.alert.smtp import SmtpAlerter

SAID = {
    "schema": 1,
    "id": "2.25.7",
    "event": "haemorrhage_suspected",
    "provisional": False,
    "total_haemorrhage_ml": 15.2,
    "findings": [{"label": "IPH", "volume_ml": 15.2, "laterality": "left"}],
    "warnings": [{"code": "no_acquisition_time", "text": "The time of receipt stands in."}],
    "scanned_at": "2026-03-01T12:00:00+00:00",
    "link": "http://127.0.0.1:8080/alerts/2.25.7",
    "research_use_only": True,
}
BODY = json.dumps(SAID).encode()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A mail server of this test's own."""
    server = MailServer()
    server.start()
    yield server
    server.stop()


def alerter(server: MailServer, **options: Any) -> SmtpAlerter:
    values = {"name": "mail", "host": server.host, "port": server.port, "tls": "none", "timeout_s": 5.0}
    values |= {"sender": "ichor@hospital.example", "to": ["on-call@hospital.example", "second@hospital.example"]}
    return SmtpAlerter(SmtpChannel.model_validate(values | options))


def test_a_mail_says_what_the_alert_says(mail_server: MailServer) -> None:
    """Finding, volume, warnings, times, link and "research use only", to every address; repeats share a Message-ID."""
    alerter(mail_server).send(BODY)
    alerter(mail_server).send(BODY)
    mail, again = mail_server.mails
    assert mail_server.recipients[0] == ["on-call@hospital.example", "second@hospital.example"]
    assert mail["Subject"] == "[AI ICH (RESEARCH)] SUSPECTED intracranial haemorrhage"
    assert mail["Message-ID"] == again["Message-ID"] == "<2.25.7.haemorrhage_suspected@hospital.example>"
    assert mail.get_content().replace("\r\n", "\n") == (
        "SUSPECTED intracranial haemorrhage.\n"
        "IPH, left: 15.2 mL\n"
        "Total: 15.2 mL\n"
        "Note: The time of receipt stands in.\n"
        "Scanned: 2026-03-01T12:00:00+00:00\n"
        "\n"
        "Open and acknowledge: http://127.0.0.1:8080/alerts/2.25.7\n"
        "\n"
        "Research use only. Produced by an algorithm. Not reviewed.\n"
    )


@pytest.mark.parametrize("event", ["corrected", "withdrawn", "study_unresolved", "study_undelivered"])
def test_every_event_has_words(mail_server: MailServer, event: str) -> None:
    """A mail can be made of every body that is ever stored."""
    alerter(mail_server).send(json.dumps({"id": "2.25.8", "event": event, "link": "http://127.0.0.1/"}).encode())
    assert len(mail_server.mails) == 1


def test_what_passes_comes_again(mail_server: MailServer) -> None:
    """A full mailbox (452) is transient, and so are a server that is slow and one that is down."""
    mail_server.next_replies = ["452 insufficient storage"]
    with pytest.raises(PeerUnreachable, match="452"):
        alerter(mail_server).send(BODY)
    mail_server.delay_s = 1.0
    with pytest.raises(PeerUnreachable):
        alerter(mail_server, timeout_s=0.3).send(BODY)
    with pytest.raises(PeerUnreachable):
        alerter(mail_server, port=free_port()).send(BODY)


def test_a_refusal_is_for_good(mail_server: MailServer) -> None:
    """A refused mail (554), refused addresses (550), and a server without the TLS that the settings want."""
    mail_server.next_replies = ["554 no"]
    with pytest.raises(PeerRejected, match="554"):
        alerter(mail_server).send(BODY)
    mail_server.refused_addresses = {
        "on-call@hospital.example": "550 unknown",
        "second@hospital.example": "550 unknown",
    }
    with pytest.raises(PeerRejected, match="550"):
        alerter(mail_server).send(BODY)
    with pytest.raises(PeerRejected, match="STARTTLS"):
        alerter(mail_server, tls="starttls").send(BODY)
    assert mail_server.mails == []


def test_one_refused_address_does_not_silence_the_others(mail_server: MailServer) -> None:
    """Who can be reached is."""
    mail_server.refused_addresses = {"second@hospital.example": "550 unknown"}
    alerter(mail_server).send(BODY)
    assert mail_server.recipients == [["on-call@hospital.example"]]
