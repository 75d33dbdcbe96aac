"""An early look alerts at once and publishes nothing; when the series settles, the same result goes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.listing import report_of
from ichor.catalogue.early import ask_early, release_series
from ichor.catalogue.lanes import StatRule
from ichor.catalogue.records import StudyDetail
from models.segmenter import HeadGrid, Segmentation
from tests.painting import PaintedSeries, paint
from tests.peers.programs import LOOPBACK
from tests.peers.recording import RecordingScp
from tests.peers.webhook import WebhookServer
from tests.worker.run.node import Node
from tests.worker.run.threshold import Threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Threshold):
    """Counts how often it runs."""

    runs: list[int] = field(default_factory=list)

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment as ever."""
        self.runs.append(1)
        return Threshold.segment(self, grid, on_progress=on_progress)


@pytest.fixture
def node(make_node: Callable[..., Node], webhook_server: WebhookServer, recording_scp: RecordingScp) -> Node:
    """A node with a PACS and a channel."""
    channel = {"name": "on-call", "url": webhook_server.url, "secret": "s"}
    pacs = {"name": "pacs", "host": LOOPBACK, "port": recording_scp.port, "ae_title": recording_scp.ae_title}
    return make_node(destinations=(pacs,), alerts=(channel,))


def look_early(node: Node, study: str, model: Counted) -> StudyDetail:
    """Release what has come, and let the worker look."""
    with node.catalogue.write() as session:
        for series in node.detail(study).series:
            release_series(session, study, series.series_instance_uid)
        ask_early(session, stat=StatRule())
    node.drain("analyse", model)
    return node.detail(study)


def said(webhook_server: WebhookServer) -> list[tuple[str, bool, str]]:
    bodies = [json.loads(request.body) for request in webhook_server.accepted()]
    return [(body["event"], body["provisional"], body["id"]) for body in bodies]


def test_a_bleed_alerts_before_it_settles_and_is_published_after(
    node: Node, webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Two messages with one id, one computation, and no object on its way before the series has settled."""
    model = Counted()
    study = node.file(bleed.paths)
    detail = look_early(node, study, model)
    assert detail.study.state == "ready"
    assert [(result.provisional, result.conclusion) for result in detail.results] == [(True, "suspected")]
    assert detail.deliveries == ()
    node.drain("deliver")
    ((event, provisional, early_id),) = said(webhook_server)
    assert (event, provisional) == ("haemorrhage_suspected", True)
    words = report_of(node.detail(study), node.settings)["study"]
    assert "SUSPECTED" in words["note"]
    assert "slices may still come" in words["note"]

    node.settle(study=False)
    node.drain("analyse", model)
    detail = node.detail(study)
    assert detail.study.state == "analysed"
    assert [(result.provisional, result.superseded_by_id) for result in detail.results] == [(False, None)]
    assert [delivery.state for delivery in detail.deliveries] == ["pending"]
    node.drain("deliver")
    assert said(webhook_server)[1:] == [("haemorrhage_suspected", False, early_id)]
    assert model.runs == [1]


def test_a_healthy_head_says_nothing_before_it_settles(
    node: Node, webhook_server: WebhookServer, test_data_dir: Path, tmp_path: Path
) -> None:
    """Nothing is shown or sent of an early look that marks nothing."""
    model = Counted()
    series = paint(test_data_dir / "ge-hispeed-tilt", tmp_path / "healthy", None)
    study = node.file(series.paths)
    detail = look_early(node, study, model)
    assert model.runs == [1]
    assert report_of(detail, node.settings)["result"] is None
    assert detail.study.conclusion is None
    node.settle(study=False)
    node.drain("analyse", model)
    assert node.detail(study).study.conclusion == "none_marked"
    assert model.runs == [1]
    assert webhook_server.received == []


def test_an_open_series_is_left_until_it_settles(node: Node, bleed: PaintedSeries) -> None:
    """With the vertex still to come, or a slice missing, the model does not run."""
    model = Counted()
    study = node.file(bleed.paths[:20])
    assert look_early(node, study, model).results == ()
    node.file((*bleed.paths[20:24], *bleed.paths[25:]))
    assert look_early(node, study, model).results == ()
    assert model.runs == []
    node.file(bleed.paths)
    assert len(look_early(node, study, model).results) == 1


def test_slices_that_come_after_an_early_look_correct_it(
    node: Node, webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """The message about the first input is corrected under a new id, and only the second result is delivered."""
    model = Counted()
    without_lowest = bleed.paths[1:]
    study = node.file(without_lowest)
    look_early(node, study, model)
    node.drain("deliver")
    node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse", model)
    node.drain("deliver")
    detail = node.detail(study)
    assert [result.superseded_by_id is None for result in detail.results] == [False, True]
    assert [delivery.result_id for delivery in detail.deliveries] == [detail.results[1].id]
    first, second = said(webhook_server)
    assert first[:2] == ("haemorrhage_suspected", True)
    assert second[:2] == ("corrected", False)
    assert json.loads(webhook_server.accepted()[1].body)["supersedes"] == first[2]
    assert "REPLACES" not in detail.results[1].summary_json
