"""From settings to channels, each with its own protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ichor.settings import WebhookChannel
from worker.alert.smtp import SmtpAlerter
from worker.alert.webhook import WebhookAlerter

if TYPE_CHECKING:
    from ichor.settings import Settings


class Alerter(Protocol):
    """A way to tell people."""

    def send(self, body: bytes) -> None:
        """Bring the stored bytes; raise PeerUnreachable or PeerRejected where they were not accepted."""


def alerters_of(settings: Settings) -> dict[str, Alerter]:
    """Give every channel by its name."""
    return {
        channel.name: WebhookAlerter(channel) if isinstance(channel, WebhookChannel) else SmtpAlerter(channel)
        for channel in settings.alerts
    }
