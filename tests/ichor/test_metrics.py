"""Metrics: every name is there from the start, under one prefix."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from ichor.metrics import NodeMetrics, counts_of, families_of


def test_counters_are_in_the_registry_that_was_given() -> None:
    """Two nodes in one process do not meet, and a scrape shows what was counted."""
    first, second = NodeMetrics(CollectorRegistry()), NodeMetrics(CollectorRegistry())
    first.instances_received.labels(by="dimse", outcome="stored").inc(3)
    shown = generate_latest(first.registry).decode()
    assert 'ichor_instances_received_total{by="dimse",outcome="stored"} 3.0' in shown
    assert 'outcome="stored"' not in generate_latest(second.registry).decode()
    names = [line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")]
    assert all(name.startswith("ichor_") for name in names)


def test_figures_travel_through_a_heartbeat() -> None:
    """What two processes counted, timed and hold open is shown by a third one, and scrapers can read it."""
    said = {}
    for number, process in enumerate(("host:1", "host:2"), start=1):
        metrics = NodeMetrics()
        metrics.jobs_ended.labels("deliver", "done").inc(number)
        metrics.stage_seconds.labels("model").observe(2.0)
        metrics.associations_open.labels("dimse").set(number)
        said[process] = json.loads(json.dumps(counts_of(metrics.registry)))
    said["host:3"] = [["ichor_of_a_later_version_total", {}, 1.0]]

    class Shown(Collector):
        def collect(self) -> Iterator[Metric]:
            return families_of(said)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Shown())
    text = generate_latest(registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(families) == {"ichor_jobs_ended", "ichor_stage_seconds", "ichor_associations_open"}
    ended = {sample.labels["process"]: sample.value for sample in families["ichor_jobs_ended"].samples}
    assert ended == {"host:1": 1.0, "host:2": 2.0}
    assert families["ichor_stage_seconds"].type == "histogram"
    assert 'ichor_stage_seconds_bucket{le="3.0",process="host:1",stage="model"} 1.0' in text
    assert 'ichor_stage_seconds_bucket{le="1.0",process="host:1",stage="model"} 0.0' in text
