"""Figures counted from the catalogue at the moment of the scrape, so that every process of the node is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ichor.catalogue import beats, views
from ichor.clock import utc_now
from ichor.metrics import NodeMetrics, counts_of, families_of
from ichor.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

BEATS_WITHIN_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCollector(Collector):
    """Reads the catalogue once per scrape."""

    settings: Settings
    catalogue: Catalogue
    own: NodeMetrics
    """What this web server counts itself."""
    process: str

    def describe(self) -> list[Metric]:
        """Name nothing in advance: registering must not read the catalogue."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every figure."""
        with self.catalogue.read() as session:
            counts = views.counters(session)
            alive = beats.live(session, within_s=BEATS_WITHIN_S)
        for subject, by_state in counts.items():
            family = GaugeMetricFamily(f"ichor_{subject}", f"Number of {subject} by state", labels=["state"])
            for state, number in by_state.items():
                family.add_metric([state], number)
            yield family
        now = utc_now()
        heartbeat = GaugeMetricFamily(
            "ichor_heartbeat_age_seconds", "Time since a process last said that it lives", labels=["kind", "process"]
        )
        for beat in alive:
            heartbeat.add_metric([beat.kind, beat.name], max(0.0, (now - beat.seen_at).total_seconds()))
        yield heartbeat
        said = {beat.name: beat.detail.get("counts", ()) for beat in alive}
        yield from families_of({**said, self.process: counts_of(self.own.registry)})
        yield GaugeMetricFamily(
            "ichor_disk_free_bytes",
            "Space left below data_dir",
            value=Store(self.settings.data_dir).free_bytes(),
        )
