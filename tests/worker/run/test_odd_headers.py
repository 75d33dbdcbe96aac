"""Headers that hold what the standard does not allow cost nobody the result."""

from __future__ import annotations

import threading
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from ichor.catalogue import early, intake
from ichor.catalogue.lanes import StatRule
from ichor.metrics import NodeMetrics
from tests.painting import PaintedSeries, paint
from tests.worker.run.node import Node
from tests.worker.run.threshold import Threshold
from worker.analysis import Recipe
from worker.analysis_job import AnalysisJob
from worker.failures import tell_of_failures
from worker.gate import load_rules
from worker.reason import Reason


def with_raw(bleed: PaintedSeries, folder: Path, keyword: str, vr: str, value: bytes) -> list[Path]:
    """Copy a series with these bytes as the value of one element of every image, whatever the standard says."""
    paths = []
    for path in bleed.paths:
        dataset = pydicom.dcmread(path)
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
        paths.append(folder / path.name)
        dataset.save_as(paths[-1])
    return paths


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS:UserWarning")
@pytest.mark.parametrize("value", [b"CT-1", b"3\\4 ", b""])
def test_a_series_number_that_is_no_number(node: Node, bleed: PaintedSeries, tmp_path: Path, value: bytes) -> None:
    """The study is analysed, and its result names no series number."""
    study = node.file(with_raw(bleed, tmp_path, "SeriesNumber", "IS", value))
    node.settle()
    node.drain("analyse")
    detail = node.detail(study)
    assert detail.study.state == "analysed"
    assert '"series_number": null' in detail.results[0].summary_json


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS:UserWarning")
@pytest.mark.parametrize("value", [b"CT-1", b"3\\4 ", b""])
def test_an_instance_number_that_is_no_number(node: Node, bleed: PaintedSeries, tmp_path: Path, value: bytes) -> None:
    """An early look goes by the geometry, and does not end in an error."""
    study = node.file(with_raw(bleed, tmp_path, "InstanceNumber", "IS", value))
    with node.catalogue.write() as session:
        early.release_series(session, study, bleed.series_instance_uid)
        assert early.ask_early(session, stat=StatRule()) == 1
    node.drain("analyse")
    detail = node.detail(study)
    assert [job.error_code for job in detail.jobs if job.queue == "analyse"] == [""]
    assert [result.provisional for result in detail.results] == [True]


class Stumbling(AnalysisJob):
    """Cannot tell of one study, for a reason that nobody foresaw."""

    unlucky = ""

    def publish_failure(self, study_instance_uid: str, reason: Reason, *, traceback: str = "") -> None:
        """Raise for that one, and tell of the others."""
        if study_instance_uid == self.unlucky:
            raise ZeroDivisionError
        super().publish_failure(study_instance_uid, reason, traceback=traceback)


def test_a_failure_that_cannot_be_told_silences_no_other(node: Node, bleed: PaintedSeries, tmp_path: Path) -> None:
    """What is wrong with one failed study is logged; the others get the results that say that they failed."""
    other = paint(bleed.paths[0].parent, tmp_path, None, seed=7)
    uids = [node.file(series.paths) for series in (bleed, other)]
    with node.catalogue.write() as session:
        for uid in uids:
            intake.mark_study(session, uid, "failed")
    node.settle()
    recipe = Recipe(segmenter_for=Threshold, rules=load_rules(None))
    stop, metrics = threading.Event(), NodeMetrics()
    job = Stumbling(node.catalogue, node.store, node.settings, recipe, stop=stop, metrics=metrics)
    job.unlucky = uids[0]
    with node.catalogue.write() as session:
        for uid in uids:
            intake.mark_study(session, uid, "failed", {"code": "test"})
    assert tell_of_failures(node.catalogue, job, node.settings.data_dir) == 1
    assert [result.status for result in node.detail(uids[1]).results] == ["failed"]
