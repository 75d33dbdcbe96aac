"""Figures of one process, for Prometheus; what the catalogue knows is counted there when somebody asks.

Listener and workers have no HTTP port: their figures travel with their heartbeats, and the web server shows them under
the name of the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric

STAGE_BUCKETS_S = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")


def counts_of(registry: CollectorRegistry) -> list[Any]:
    """Give every figure that has been set, as [sample, labels, value], JSON-ready, for a heartbeat's detail."""
    return [
        [sample.name, dict(sample.labels), sample.value]
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


def families_of(counts: Mapping[str, Iterable[Any]]) -> Iterator[Metric]:
    """Put the figures of several processes, by their names, together again; what this version does not know is left."""
    families = {family.name: family for family in NodeMetrics().registry.collect()}
    shown = {name: Metric(name, family.documentation, family.type) for name, family in families.items()}
    by_sample = {name + suffix: family for name, family in shown.items() for suffix in _SUFFIXES}
    for process, entries in counts.items():
        for sample, labels, value in entries:
            if sample in by_sample:
                by_sample[sample].add_sample(sample, {**labels, "process": process}, value)
    yield from (family for family in shown.values() if family.samples)


class NodeMetrics:
    """What listener, workers and web server count."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = CollectorRegistry() if registry is None else registry
        self.registry = registry
        self.instances_received = Counter(
            "ichor_instances_received",
            "Instances offered, by how (dimse, stow) and outcome (stored, duplicate, refused, quarantined)",
            ("by", "outcome"),
            registry=registry,
        )
        self.bytes_received = Counter(
            "ichor_received_bytes", "Bytes of instances that were stored", ("by",), registry=registry
        )
        self.associations_open = Gauge(
            "ichor_associations_open", "Associations open now, by how (dimse)", ("by",), registry=registry
        )
        self.associations_refused = Counter(
            "ichor_associations_refused", "Associations refused, by reason", ("reason",), registry=registry
        )
        self.jobs_ended = Counter(
            "ichor_jobs_ended",
            "Jobs ended, by kind and outcome (done, retry, fail, release, abandon)",
            ("kind", "outcome"),
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "ichor_stage_seconds",
            "Seconds that a stage of an analysis took (gate, volume, model, measure, write)",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.objects_sent = Counter(
            "ichor_objects_sent",
            "Objects sent, by destination and outcome (taken, held_already, later, refused)",
            ("destination", "outcome"),
            registry=registry,
        )
        self.alerts_sent = Counter(
            "ichor_alerts_sent",
            "Alerts sent, by channel and outcome (sent, refused, unreachable)",
            ("channel", "outcome"),
            registry=registry,
        )
