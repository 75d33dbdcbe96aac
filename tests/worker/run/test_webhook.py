from __future__ import annotations

import hashlib
import hmac

import pytest
from pydantic import SecretStr

from ichor.errors import PeerRejected, PeerUnreachable
from ichor.settings import WebhookChannel
from tests.peers.programs import free_port
from tests.peers.webhook import WebhookServer
from worker.alert.webhook import WebhookAlerter

BODY = '{"id":"2.25.1","findings":[{"label":"IPH"}],"note":"öäü"}'.encode()


def alerter(url: str, timeout_s: float = 5.0) -> WebhookAlerter:
    return WebhookAlerter(
        WebhookChannel(name="on-call", url=url, secret=SecretStr("shared secret"), timeout_s=timeout_s)
    )


def test_the_raw_body_is_signed(webhook_server: WebhookServer) -> None:
    """The receiver can recompute the HMAC over exactly the bytes it got."""
    alerter(webhook_server.url).send(BODY)
    (received,) = webhook_server.received
    assert received.body == BODY
    expected = hmac.new(b"shared secret", received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-ichor-signature"] == f"sha256={expected}"
    assert received.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_passes_comes_again(webhook_server: WebhookServer, status: int) -> None:
    """Overload and faults of the receiver are transient."""
    webhook_server.next_statuses = [status]
    with pytest.raises(PeerUnreachable):
        alerter(webhook_server.url).send(BODY)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413])
def test_a_refusal_is_for_good(webhook_server: WebhookServer, status: int) -> None:
    """What the receiver does not want, it will not want later; a redirect is not followed."""
    webhook_server.next_statuses = [status]
    with pytest.raises(PeerRejected):
        alerter(webhook_server.url).send(BODY)


def test_nobody_listening_is_transient() -> None:
    """A receiver that is down may come back."""
    with pytest.raises(PeerUnreachable):
        alerter(f"http://127.0.0.1:{free_port()}/").send(BODY)


def test_a_slow_receiver_does_not_hold_the_lane(webhook_server: WebhookServer) -> None:
    """After the channel's timeout the alert comes again."""
    webhook_server.delay_s = 1.0
    with pytest.raises(PeerUnreachable):
        alerter(webhook_server.url, timeout_s=0.2).send(BODY)
