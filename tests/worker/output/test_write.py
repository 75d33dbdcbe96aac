from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ichor.errors import GeometryError
from tests.worker.output.cases import read
from worker.output.context import WriteContext
from worker.output.profile import Profile, Variant
from worker.output.write import write_all
from worker.result import AnalysisResult


def test_an_analysed_study_gets_every_object(tilted: WriteContext, tmp_path: Path) -> None:
    """Segmentation, two reports, summary, picture and result are written, under the names of the contract."""
    written = write_all(tilted, tmp_path)
    assert [one.kind for one in written] == ["seg", "sr", "sr-record", "summary"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "overlay.png",
        "result.json",
        "seg.dcm",
        "sr-record.dcm",
        "sr.dcm",
        "summary.dcm",
    ]
    for one in written:
        dataset = read(one.path)
        assert dataset.SOPInstanceUID == one.sop_instance_uid
        assert dataset.SOPClassUID == one.sop_class_uid
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
        assert dataset.SeriesDescription == "AI ICH (RESEARCH) - NOT REVIEWED"
        assert dataset.Manufacturer == "Ichor"
        assert dataset.StudyInstanceUID == tilted.result.study_instance_uid
    assert len({read(one.path).SeriesInstanceUID for one in written}) == 4
    result = AnalysisResult.from_json((tmp_path / "result.json").read_bytes())
    assert result.outputs["seg"] == "seg.dcm"
    assert result.outputs["overlay"] == "overlay.png"


def test_nothing_marked_means_no_segmentation(unmarked: WriteContext, tmp_path: Path) -> None:
    """Without a marked region there is no seg.dcm, and the result does not name one."""
    assert [one.kind for one in write_all(unmarked, tmp_path)] == ["sr", "sr-record", "summary"]
    assert not (tmp_path / "seg.dcm").exists()
    assert "seg" not in json.loads((tmp_path / "result.json").read_text())["outputs"]


def test_what_was_not_analysed_gets_a_summary_too(refused: WriteContext, tmp_path: Path) -> None:
    """Silence is a fault: a study that was not analysed has a summary that says why."""
    assert [one.kind for one in write_all(refused, tmp_path)] == ["summary"]
    summary = read(tmp_path / "summary.dcm")
    assert summary.ImageComments.startswith(
        "NOT ANALYSED - no result. Reason: contrast-enhanced series. Read as usual."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlay.png", "result.json", "summary.dcm"]


def test_without_a_single_header_only_the_words_are_written(refused: WriteContext, tmp_path: Path) -> None:
    """Where no file could be read there is no study to file an object under, but a result and a picture."""
    assert write_all(replace(refused, source=()), tmp_path) == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlay.png", "result.json"]


def test_the_summary_shows_the_same_picture(tilted: WriteContext, tmp_path: Path) -> None:
    """The Secondary Capture holds the pixels of overlay.png, says so, and stands at the end of the study."""
    write_all(tilted, tmp_path)
    summary = read(tmp_path / "summary.dcm")
    assert np.array_equal(summary.pixel_array, np.asarray(Image.open(tmp_path / "overlay.png")))
    assert summary.BurnedInAnnotation == "YES"
    assert summary.Modality == "OT"
    assert summary.ConversionType == "WSD"
    assert summary.SeriesNumber > 90000
    assert "Warning: Part of the marked region is denser than 100 HU" in summary.ImageComments


def test_written_twice_is_the_same_bytes(tilted: WriteContext, tmp_path: Path) -> None:
    """The same result gives the same files, to the last byte, so that a second writing never makes a second object."""
    write_all(tilted, tmp_path / "first")
    write_all(tilted, tmp_path / "second")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_another_generation_gives_other_objects(straight: WriteContext, tmp_path: Path) -> None:
    """A forced new result has its own UIDs throughout."""
    again = replace(straight, identity=replace(straight.identity, generation=1))
    first = write_all(straight, tmp_path / "first")
    second = write_all(again, tmp_path / "second")
    assert not {one.sop_instance_uid for one in first} & {one.sop_instance_uid for one in second}


def test_nothing_is_written_where_places_do_not_match(straight: WriteContext, tmp_path: Path) -> None:
    """A fault in the geometry leaves no half result behind."""
    labels = straight.labels_kji
    assert labels is not None
    with pytest.raises(GeometryError):
        write_all(replace(straight, labels_kji=labels[:-1]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_site_may_name_its_series(straight: WriteContext, tmp_path: Path) -> None:
    """Description, modality of the summary and institution follow the profile."""
    profile = Profile(series_description="AI TEST", summary_modality="CT", institution_name="General")
    variant = Variant(profile=profile, kinds=frozenset({"summary"}))
    (path,) = [one.path for one in write_all(straight, tmp_path, (variant,)) if one.variant]
    summary = read(path)
    assert (summary.SeriesDescription, summary.Modality, summary.InstitutionName) == ("AI TEST", "CT", "General")


def test_times_are_on_the_clock_of_the_source(straight: WriteContext, tmp_path: Path) -> None:
    """The objects carry the time of writing, in the time zone that the source states, else in the writer's own."""
    write_all(straight, tmp_path)
    assert read(tmp_path / "sr.dcm").ContentTime == "022000"
    for header in straight.source:
        header.TimezoneOffsetFromUTC = "-0500"
    write_all(straight, tmp_path)
    report = read(tmp_path / "sr.dcm")
    for header in straight.source:
        del header.TimezoneOffsetFromUTC
    assert (report.ContentDate, report.ContentTime) == ("20260303", "202000")
    assert report.TimezoneOffsetFromUTC == "-0500"
