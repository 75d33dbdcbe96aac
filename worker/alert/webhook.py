"""An alert as a signed HTTP POST: HMAC-SHA-256 over the raw body in `X-Ichor-Signature`.

2xx is accepted. 408, 425, 429, 5xx and everything on the way there come again; any other answer is for good, so a
redirect is a fault too: a signed message goes where the settings say and nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import httpx

from ichor.errors import PeerRejected, PeerUnreachable

if TYPE_CHECKING:
    from ichor.settings import WebhookChannel

SIGNATURE_HEADER = "X-Ichor-Signature"
_COMES_AGAIN = frozenset({408, 425, 429})  # RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4


def signature(body: bytes, secret: str) -> str:
    """Sign the raw body: `sha256=` and 64 hex digits."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class WebhookAlerter:
    """Brings alerts to one channel."""

    def __init__(self, channel: WebhookChannel) -> None:
        self._channel = channel

    def send(self, body: bytes) -> None:
        """Post the stored bytes; raise PeerUnreachable or PeerRejected where they were not accepted."""
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: signature(body, self._channel.secret.get_secret_value()),
        }
        try:
            answer = httpx.post(
                self._channel.url,
                content=body,
                headers=headers,
                timeout=self._channel.timeout_s,
                follow_redirects=False,
                trust_env=False,  # proxies come from settings or not at all
            )
        except httpx.TransportError as error:
            raise PeerUnreachable(f"Channel {self._channel.name} does not answer: {type(error).__name__}.") from error
        if answer.is_success:
            return
        said = f"Channel {self._channel.name} answered {answer.status_code}."
        if answer.is_server_error or answer.status_code in _COMES_AGAIN:
            raise PeerUnreachable(said)
        raise PeerRejected(said)
