"""Brings stored bodies to their channels, and counts what became of each try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.errors import PeerRejected, PeerUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ichor.metrics import NodeMetrics
    from worker.alert.channels import Alerter


class Bearer:
    """Knows every channel of the settings."""

    def __init__(self, alerters: Mapping[str, Alerter], metrics: NodeMetrics) -> None:
        self._alerters = alerters
        self._counts = metrics.alerts_sent

    def bring(self, channel: str, body: bytes) -> None:
        """Send one message; raise PeerRejected, also where the settings name no such channel, or PeerUnreachable."""
        alerter = self._alerters.get(channel)
        if alerter is None:
            raise PeerRejected(f"The settings name no alert channel {channel}.")
        try:
            alerter.send(body)
        except PeerRejected:
            self._counts.labels(channel, "refused").inc()
            raise
        except PeerUnreachable:
            self._counts.labels(channel, "unreachable").inc()
            raise
        self._counts.labels(channel, "sent").inc()
