from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from ichor.catalogue import views
from ichor.catalogue.records import StudyDetail
from models.segmenter import HeadGrid, Segmentation
from tests.painting import PaintedSeries
from tests.worker.run.node import Node
from tests.worker.run.threshold import Threshold
from worker.result import AnalysisResult

DESTINATION = {"name": "pacs", "host": "127.0.0.1", "port": 1, "ae_title": "PACS"}
CHANNEL = {"name": "on-call", "url": "http://127.0.0.1:1/", "secret": "s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Threshold):
    """Raises what no segmenter should."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Fail with a message that quotes the patient."""
        raise ZeroDivisionError(f"Marked^Patient {grid.spacing_zyx_mm} {on_progress}")


@pytest.fixture
def open_node(make_node: Callable[..., Node]) -> Node:
    """A node with a destination and an alert channel, nothing held."""
    return make_node(destinations=(DESTINATION,), alerts=(CHANNEL,))


@pytest.fixture(scope="module")
def published_node(bleed: PaintedSeries) -> Iterator[Node]:
    """Such a node, with the bleed analysed: for promises that change nothing."""
    with tempfile.TemporaryDirectory(prefix="ichor-") as folder:
        node = Node(Path(folder) / "data", destinations=(DESTINATION,), alerts=(CHANNEL,))
        analysed(node, bleed)
        yield node
        node.close()


def analysed(node: Node, series: PaintedSeries) -> StudyDetail:
    study = node.file(series.paths)
    node.settle(study=False)
    node.drain("analyse")
    return node.detail(study)


def test_a_bleed_is_published_whole(published_node: Node, bleed: PaintedSeries) -> None:
    """One result, its objects, one delivery, one alert, and the jobs that bring them."""
    detail = published_node.detail(bleed.study_instance_uid)
    (result,) = detail.results
    assert (detail.study.state, result.status, result.conclusion) == ("analysed", "analysed", "suspected")
    assert sorted(item.kind for item in result.objects) == ["seg", "sr", "sr-record", "summary"]
    for item in result.objects:
        assert hashlib.sha256(item.path.read_bytes()).hexdigest() == item.sha256
        assert item.path.is_relative_to(published_node.settings.results_dir)
    (delivery,) = detail.deliveries
    assert (delivery.state, sorted(item.kind for item in delivery.objects)) == ("pending", ["seg", "sr", "summary"])
    (alert,) = detail.alerts
    assert (alert.state, alert.event) == ("pending", "haemorrhage_suspected")
    assert sorted((job.kind, job.state) for job in detail.jobs) == [
        ("alert", "ready"),
        ("analyse", "done"),
        ("deliver", "ready"),
    ]
    assert not list(published_node.settings.results_dir.glob("*.part"))


def test_an_alert_says_what_the_contract_says_and_no_more(published_node: Node, bleed: PaintedSeries) -> None:
    """Schema 1, canonical JSON, no trace of the patient, no UID that the channel was not told to have."""
    (alert,) = published_node.detail(bleed.study_instance_uid).alerts
    body = json.loads(alert.body)
    assert sorted(body) == [
        "analysed_at",
        "event",
        "findings",
        "id",
        "link",
        "model",
        "provisional",
        "received_at",
        "research_use_only",
        "scanned_at",
        "schema",
        "station",
        "supersedes",
        "total_haemorrhage_ml",
        "warnings",
    ]
    assert body["id"] == alert.alert_uid
    assert body["event"] == "haemorrhage_suspected"
    assert [finding["label"] for finding in body["findings"]] == ["IPH"]
    assert body["research_use_only"] is True
    assert json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == alert.body
    for secret in ("Marked", "MARKED", bleed.study_instance_uid, bleed.series_instance_uid):
        assert secret.encode() not in alert.body


def test_the_same_study_again_gives_nothing_new(published_node: Node, bleed: PaintedSeries) -> None:
    """A resend, a closing look and a retry find the finished result."""
    before = published_node.detail(bleed.study_instance_uid)
    published_node.file(bleed.paths)
    published_node.settle()
    with published_node.catalogue.write() as session:
        views.request_retry(session, bleed.study_instance_uid, force=False)
    assert published_node.drain("analyse") == 1
    after = published_node.detail(bleed.study_instance_uid)
    assert (after.results, after.deliveries, after.alerts) == (before.results, before.deliveries, before.alerts)
    assert after.study.state == "analysed"


def test_an_early_look_at_nothing_fit_is_quiet(node: Node, bleed: PaintedSeries) -> None:
    """Three slices are no head yet; only when the study is quiet is that said."""
    study = node.file(bleed.paths[:3])
    node.settle(study=False)
    node.drain("analyse")
    early = node.detail(study)
    assert (early.results, early.study.state) == ((), "ready")
    node.settle()
    node.drain("analyse")
    (result,) = node.detail(study).results
    assert (result.status, result.conclusion) == ("not_analysed", None)
    assert [item.kind for item in result.objects] == ["summary"]
    assert [reason.code for reason in AnalysisResult.from_json(result.summary_json).reasons] == [
        "too_few_slices",
        "short_scan",
    ]


def test_a_study_without_ct_gets_no_result(node: Node, bleed: PaintedSeries, tmp_path: Path) -> None:
    """Our own objects, and studies of other modalities, are filed and left alone; nobody waits for them."""
    header = pydicom.dcmread(bleed.paths[0])
    header.Modality = "MR"
    header.save_as(tmp_path / "mr.dcm")
    study = node.file([tmp_path / "mr.dcm"])
    node.settle()
    node.drain("analyse")
    detail = node.detail(study)
    assert (detail.results, detail.study.state) == ((), "not_analysed")


def test_a_failed_study_says_so(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """After the last attempt a summary goes out, and no foreign message with it."""
    node = make_node(jobs={"max_attempts": 1}, destinations=(DESTINATION,))
    study = node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse", Broken())
    detail = node.detail(study)
    (result,) = detail.results
    assert (detail.study.state, result.status, result.conclusion) == ("failed", "failed", None)
    assert [item.kind for item in result.objects] == ["summary"]
    assert "internal error (ZeroDivisionError)" in result.summary_json
    assert "Marked" not in result.summary_json
    assert [item.kind for item in detail.deliveries[0].objects] == ["summary"]
    node.drain("analyse")
    assert node.detail(study).results == detail.results


def test_commissioning_holds_everything(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """While results are held, deliveries and alerts wait, and nobody is called."""
    node = make_node(delivery={"hold": True}, destinations=(DESTINATION,), alerts=(CHANNEL,))
    detail = analysed(node, bleed)
    assert [delivery.state for delivery in detail.deliveries] == ["held"]
    assert [alert.state for alert in detail.alerts] == ["held"]
    assert {job.kind for job in detail.jobs} == {"analyse"}


def test_more_slices_and_more_tries_supersede(open_node: Node, bleed: PaintedSeries) -> None:
    """Late slices, and a forced retry: a new result each, the old one kept and marked, the people told."""
    open_node.file(bleed.paths[:-2])
    open_node.settle(study=False)
    open_node.drain("analyse")
    analysed(open_node, bleed)
    with open_node.catalogue.write() as session:
        views.request_retry(session, bleed.study_instance_uid, force=True)
    open_node.drain("analyse")
    detail = open_node.detail(bleed.study_instance_uid)
    early, whole, again = detail.results
    assert [result.superseded_by_id for result in detail.results] == [whole.id, again.id, None]
    replaced = AnalysisResult.from_json(whole.summary_json).replaces
    assert replaced is not None
    assert replaced.slices == 26
    uids = [{item.sop_instance_uid for item in result.objects} for result in (early, whole, again)]
    assert [len(one) for one in uids] == [4, 5, 5]  # what replaces another has a note that rejects it
    assert len(set.union(*uids)) == 14
    assert [alert.event for alert in detail.alerts] == ["haemorrhage_suspected", "corrected", "corrected"]
    assert [json.loads(alert.body)["supersedes"] for alert in detail.alerts] == [
        None,
        detail.alerts[0].alert_uid,
        detail.alerts[1].alert_uid,
    ]


def test_a_suspicion_that_calls_nobody_says_why(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """The timeline names the channel and the reason, so that silence is never a riddle."""
    node = make_node(alerts=({**CHANNEL, "min_volume_ml": 900.0},))
    detail = analysed(node, bleed)
    assert (detail.study.conclusion, detail.alerts) == ("suspected", ())
    (event,) = [event for event in detail.events if event.name == "alert_not_due"]
    assert event.detail == {"channel": "on-call", "text": "less than 900 mL"}
