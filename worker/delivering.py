"""The work on the queue `deliver`: deliveries, alerts, notices. Imports nothing that analyses, so little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.alert.channels import alerters_of
from worker.alert.job import AlertJob
from worker.alert.notice import NoticeJob
from worker.deliver.destinations import destinations_of
from worker.deliver.job import DeliveryJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import JobKind
    from ichor.metrics import NodeMetrics
    from ichor.settings import Settings
    from worker.loop import Handler


class Delivering:
    """Destinations and channels, opened once; raises SettingsError where one cannot be used."""

    def __init__(self, settings: Settings, catalogue: Catalogue, metrics: NodeMetrics) -> None:
        alerters = alerters_of(settings)
        self.handlers: Mapping[JobKind, Handler] = {
            "deliver": DeliveryJob(
                catalogue,
                destinations_of(settings, catalogue),
                confirm_timeout_s=settings.delivery.confirm_timeout_s,
                metrics=metrics,
            ),
            "alert": AlertJob(catalogue, alerters, metrics=metrics),
            "notice": NoticeJob(catalogue, alerters, metrics=metrics),
        }

    def warm(self) -> None:
        """Be ready: connections are opened when there is something to send."""

    def after_job(self) -> None:
        """Leave nothing behind."""

    def after_all(self) -> None:
        """Leave nothing behind."""
