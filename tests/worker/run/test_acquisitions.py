"""Scans hours apart in one study: a result of its own for each, side by side, and one call for what they show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest

from console.cli.process import analyse_each, in_place, remove_stale
from console.listing import current_result, further_results, report_of, summary_of
from ichor.catalogue import views
from ichor.catalogue.records import SeriesRow, StudyDetail
from models.segmenter import HeadGrid, Segmentation
from tests.worker.geometry.scans import head_hu
from tests.worker.run.heads import bled, write_head
from tests.worker.run.node import Node
from tests.worker.run.threshold import Threshold
from worker.disposition import StopAsked
from worker.gate import load_rules
from worker.pipeline import Recipe, read_one_study
from worker.result import AnalysisResult

DESTINATION = {"name": "pacs", "host": "127.0.0.1", "port": 1, "ae_title": "PACS"}
CHANNEL = {"name": "on-call", "url": "http://127.0.0.1:1/", "secret": "s"}
NOW = datetime.now(tz=UTC).replace(microsecond=0)
FIRST, LATER = NOW - timedelta(hours=3), NOW - timedelta(minutes=5)


@pytest.fixture
def open_node(make_node: Callable[..., Node]) -> Node:
    """A node with a destination and an alert channel, nothing held."""
    return make_node(destinations=(DESTINATION,), alerts=(CHANNEL,), jobs={"max_attempts": 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class FailsOnMetal(Threshold):
    """Fails on a head with metal in it."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment, or fail."""
        if grid.hu_zyx.max() > 2000:
            raise ZeroDivisionError
        return Threshold.segment(self, grid, on_progress=on_progress)


def analysed(node: Node, paths: list[Path], segmenter: Threshold | None = None) -> StudyDetail:
    """File, settle and analyse; give the study."""
    study = node.file(paths)
    node.settle()
    node.drain("analyse", segmenter)
    return node.detail(study)


def result(row_json: str) -> AnalysisResult:
    return AnalysisResult.from_json(row_json)


def test_each_scan_of_a_study_has_a_result(open_node: Node, tmp_path: Path) -> None:
    """Both arrive at once: two results stand, each with its own objects and delivery; the later one is the study's."""
    paths = write_head(tmp_path, "first", FIRST, bled(15.0)) + write_head(tmp_path, "later", LATER, bled(20.0))
    detail = analysed(open_node, paths)
    assert [one.superseded_by_id for one in detail.results] == [None, None]
    main, (other,) = current_result(detail), further_results(detail)
    assert main is not None
    assert (main.acquired_at, other.acquired_at) == (LATER, FIRST)
    assert detail.study.total_haemorrhage_ml == main.total_haemorrhage_ml
    assert result(main.summary_json).replaces is result(other.summary_json).replaces is None
    assert len({item.sop_instance_uid for row in detail.results for item in row.objects}) == 8
    assert sorted(delivery.result_id for delivery in detail.deliveries) == [main.id, other.id]
    assert (detail.study.state, detail.study.delivery_states) == ("analysed", ("pending", "pending"))


def test_both_scans_of_one_bleed_call_once(open_node: Node, tmp_path: Path) -> None:
    """The later scan calls; the older one is no news, whether it comes with it or after it."""
    detail = analysed(open_node, write_head(tmp_path, "later", LATER, bled(20.0)))
    assert [alert.event for alert in detail.alerts] == ["haemorrhage_suspected"]
    detail = analysed(open_node, write_head(tmp_path, "first", FIRST, bled(15.0)))
    assert len(detail.results) == 2
    assert [(alert.result_id, alert.state) for alert in detail.alerts] == [(detail.study.result_id, "pending")]


def test_a_follow_up_calls_and_leaves_the_first_call_standing(open_node: Node, tmp_path: Path) -> None:
    """A newer scan that shows blood calls too, and says the change; the call of the scan before it stands."""
    analysed(open_node, write_head(tmp_path, "first", FIRST, bled(15.0)))
    detail = analysed(open_node, write_head(tmp_path, "later", LATER, bled(20.0)))
    assert [alert.event for alert in detail.alerts] == ["haemorrhage_suspected"] * 2
    assert [alert.state for alert in detail.alerts] == ["pending"] * 2
    main = current_result(detail)
    assert main is not None
    change = result(main.summary_json).change
    assert change is not None
    assert change.prior_scanned_at == FIRST
    assert change.change_ml > 3.0


def test_a_clean_follow_up_withdraws_nothing(open_node: Node, tmp_path: Path) -> None:
    """The later scan shows no blood: the earlier result and its call stand, and the worklist says both."""
    analysed(open_node, write_head(tmp_path, "first", FIRST, bled(15.0)))
    detail = analysed(open_node, write_head(tmp_path, "later", LATER, head_hu))
    assert [one.superseded_by_id for one in detail.results] == [None, None]
    assert [(alert.event, alert.state) for alert in detail.alerts] == [("haemorrhage_suspected", "pending")]
    line = summary_of(detail.study, open_node.settings)
    assert line.outcome == "none_marked"
    assert "another scan of this study: SUSPECTED" in line.note
    (further,) = report_of(detail, open_node.settings)["further"]
    assert (further["conclusion"], further["total_haemorrhage_ml"]) == ("suspected", line.other_suspected_ml)


def test_a_call_that_kept_silent_goes_out_where_the_newer_one_is_withdrawn(open_node: Node, tmp_path: Path) -> None:
    """A better reconstruction of the later scan shows no blood: its call is withdrawn, and the first scan calls."""
    later = write_head(tmp_path, "later", LATER, bled(20.0), ConvolutionKernel="Q")
    detail = analysed(open_node, write_head(tmp_path, "first", FIRST, bled(15.0)) + later)
    (alert,) = detail.alerts
    detail = analysed(open_node, write_head(tmp_path, "soft", LATER, head_hu))
    first = next(one for one in detail.results if one.acquired_at == FIRST)
    assert first.superseded_by_id is None
    assert [one.superseded_by_id is None for one in detail.results if one.acquired_at == LATER] == [False, True]
    bodies = [(row.event, json.loads(row.body)["supersedes"], row.state) for row in detail.alerts]
    assert bodies == [
        ("haemorrhage_suspected", None, "withdrawn"),
        ("withdrawn", alert.alert_uid, "pending"),
        ("haemorrhage_suspected", None, "pending"),
    ]
    assert detail.alerts[-1].result_id == first.id


def test_late_slices_replace_only_their_own_scan(open_node: Node, tmp_path: Path) -> None:
    """Slices of the first scan that come late make a new result of it; the later scan's stays the study's."""
    first, later = write_head(tmp_path, "first", FIRST, bled(15.0)), write_head(tmp_path, "later", LATER, bled(20.0))
    before = analysed(open_node, first[:-1] + later)
    after = analysed(open_node, first[-1:])
    assert after.study.result_id == before.study.result_id
    replaced = [one.acquired_at for one in after.results if one.superseded_by_id is not None]
    assert (len(after.results), replaced) == (3, [FIRST])
    assert after.study.state == "analysed"


def test_a_scan_that_fails_says_so_and_leaves_the_other_alone(open_node: Node, tmp_path: Path) -> None:
    """The later scan's result stands, the first scan's says that it failed, and nothing is computed or said twice."""

    def metal(points: object) -> object:
        hu = bled(15.0)(points)  # type: ignore[arg-type]
        hu[hu > 800] = 2500.0
        return hu

    first = write_head(tmp_path, "first", FIRST, metal)  # type: ignore[arg-type]
    detail = analysed(open_node, first + write_head(tmp_path, "later", LATER, bled(20.0)), FailsOnMetal())
    statuses = {one.acquired_at: one.status for one in detail.results}
    assert statuses == {LATER: "analysed", FIRST: "failed"}
    assert (detail.study.state, detail.study.conclusion) == ("analysed", "suspected")
    with open_node.catalogue.write() as session:
        views.request_retry(session, detail.study.study_instance_uid, force=False)
    open_node.drain("analyse")
    again = open_node.detail(detail.study.study_instance_uid)
    standing = {one.acquired_at: one.status for one in again.results if one.superseded_by_id is None}
    assert standing == {LATER: "analysed", FIRST: "analysed"}
    assert [alert.event for alert in again.alerts] == ["haemorrhage_suspected"]


def test_a_scan_whose_images_leave_the_study_leaves_no_result(open_node: Node, tmp_path: Path) -> None:
    """The later scan turns out to be somebody else's: its result is replaced, those who were called are told."""
    first, later = write_head(tmp_path, "first", FIRST, head_hu), write_head(tmp_path, "later", LATER, bled(20.0))
    before = analysed(open_node, first + later)
    moved = write_head(tmp_path, "later", LATER, bled(20.0), StudyInstanceUID="1.2.3.4", PatientID="OTHER")
    open_node.file(moved)
    open_node.settle()
    open_node.drain("analyse")
    after = open_node.detail(before.study.study_instance_uid)
    main = current_result(after)
    assert main is not None
    assert (main.acquired_at, main.conclusion) == (FIRST, "none_marked")
    assert [one.superseded_by_id for one in after.results if one.acquired_at == LATER] == [main.id]
    assert [(alert.event, alert.state) for alert in after.alerts] == [
        ("haemorrhage_suspected", "withdrawn"),
        ("withdrawn", "pending"),
    ]


def test_halves_of_a_head_are_both_analysed(open_node: Node, tmp_path: Path) -> None:
    """Skull base and vertex in two series: a partial result of each, side by side, and neither is left unseen."""
    heights = np.arange(-80.0, 81.0, 5.0)
    base = write_head(tmp_path, "base", LATER, bled(15.0), heights_mm=heights[:21])
    vertex = write_head(tmp_path, "vertex", LATER + timedelta(minutes=1), heights_mm=heights[21:])
    detail = analysed(open_node, base)
    assert [one.conclusion for one in detail.results] == ["suspected"]
    detail = analysed(open_node, vertex)
    assert [one.superseded_by_id for one in detail.results] == [None, None]
    assert [one.conclusion for one in detail.results] == ["suspected", "none_marked"]
    for row in detail.results:
        said = result(row.summary_json)
        assert said.coverage is not None
        assert not said.coverage.whole_head
        assert "partial_head" in [warning.code for warning in said.warnings]
    assert [(alert.event, alert.state) for alert in detail.alerts] == [("haemorrhage_suspected", "pending")]
    whole = write_head(tmp_path, "whole", LATER + timedelta(minutes=2), bled(15.0))
    detail = analysed(open_node, whole)
    assert [one.superseded_by_id is None for one in detail.results] == [False, False, True]


def test_scans_are_compared_by_the_command_too(tmp_path: Path) -> None:
    """`ichor process`: the latest scan's files where they are looked for, the first's in a folder, and the change."""
    write_head(tmp_path, "first", FIRST, bled(15.0))
    write_head(tmp_path, "later", LATER, bled(20.0))
    out = tmp_path / "out"
    recipe = Recipe(segmenter_for=Threshold, rules=load_rules(None))
    first, later = analyse_each(read_one_study([tmp_path / "study"]), recipe, out, None)
    later = in_place(later, out)
    assert AnalysisResult.from_json((out / "result.json").read_bytes()) == later.result
    assert AnalysisResult.from_json((out / "acquisition-1" / "result.json").read_bytes()) == first.result
    assert later.result.change is not None
    assert later.result.change.prior_total_ml == first.result.total_haemorrhage_ml
    remove_stale(out)
    assert list(out.iterdir()) == []


def test_every_series_says_why_it_was_not_analysed(open_node: Node, tmp_path: Path) -> None:
    """By its header, by what is seen in it, or because another one was preferred; code and sentence on the page."""
    paths = write_head(tmp_path, "best", LATER, head_hu)
    paths += write_head(tmp_path, "second", LATER, head_hu, ConvolutionKernel="Q")
    paths += write_head(tmp_path, "bone", LATER, head_hu, ConvolutionKernel="H60s")
    paths += write_head(tmp_path, "air", FIRST, lambda points: np.full(points.shape[:-1], -1000.0))
    detail = analysed(open_node, paths)
    said = [series.verdict for series in sorted(detail.series, key=lambda one: paths_of(paths, one))]
    assert said == [
        {"analysed": True, "reasons": []},
        {"analysed": False, "reasons": [{"code": "another_preferred", "text": "another series was preferred"}]},
        {"analysed": False, "reasons": [{"code": "bone_kernel", "text": "sharp reconstruction kernel (bone)"}]},
        {"analysed": False, "reasons": [{"code": "no_brain", "text": "no brain inside a skull to be seen"}]},
    ]


def paths_of(paths: list[Path], series: SeriesRow) -> int:
    """Give the place of a series among the files."""
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID) for path in paths]
    return uids.index(series.series_instance_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopsAtTheSecond(Threshold):
    """Lets the first acquisition through, and hands the job back at the next, as a worker that drains does."""

    seen: list[HeadGrid] = field(default_factory=list)

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment, or stop."""
        self.seen.append(grid)
        if len(self.seen) == 2:
            raise StopAsked
        return Threshold.segment(self, grid, on_progress=on_progress)


def test_a_forced_retry_that_is_interrupted_makes_each_result_once(open_node: Node, tmp_path: Path) -> None:
    """Ended between two acquisitions and begun again, it finds what it made; another forced retry makes new ones."""
    paths = write_head(tmp_path, "first", FIRST, bled(15.0)) + write_head(tmp_path, "later", LATER, bled(20.0))
    study = analysed(open_node, paths).study.study_instance_uid
    for made, segmenter in ((4, StopsAtTheSecond()), (6, Threshold())):
        with open_node.catalogue.write() as session:
            views.request_retry(session, study, force=True)
        open_node.drain("analyse", segmenter)
        detail = open_node.detail(study)
        assert [one.acquired_at for one in detail.results[made - 2 :]] == [LATER, FIRST]
        assert len(detail.results) == made
        assert len({one.identity_digest for one in detail.results}) == made
        assert [one.superseded_by_id is None for one in detail.results] == [False] * (made - 2) + [True] * 2
        assert {job.state for job in detail.jobs if job.queue == "analyse"} == {"done"}
