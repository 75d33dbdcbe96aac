from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from worker.output import words
from worker.reason import Reason
from worker.result import AnalysisResult, Replaced, ResultCoverage, ResultFinding, ResultModel

AT = datetime(2026, 3, 4, 3, 20, tzinfo=timezone(timedelta(hours=1)))
EAH = "Extra-axial, type not determined (subdural, epidural or subarachnoid)"


def found(title: str = "Intraparenchymal", **stated: Any) -> ResultFinding:
    values: dict[str, Any] = {
        "label": title[:3],
        "title": title,
        "haemorrhage": True,
        "volume_ml": 15.2,
        "volume_range_ml": (14.1, 16.4),
        "laterality": "left",
        "touches_edge": False,
        "components": 1,
        "long_axis_mm": 34.1,
        "short_axis_mm": 29.8,
        "abc2_ml": 16.0,
        "median_hu": 67.9,
        "share_above_100_hu": 0.0,
        "bounding_box_lps_mm": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "centroid_lps_mm": (0.5, 0.5, 0.5),
    }
    return ResultFinding(**{**values, **stated})


def suspected(*findings: ResultFinding, **stated: Any) -> AnalysisResult:
    values: dict[str, Any] = {
        "status": "analysed",
        "written_at": AT,
        "study_instance_uid": "1.2",
        "series_instance_uid": "1.3",
        "series_number": 3,
        "source_instances": 28,
        "slices": 28,
        "conclusion": "suspected",
        "coverage": ResultCoverage(whole_head=True, lowest_mm=0.0, highest_mm=140.0),
        "model": ResultModel(name="m", version="1", digest="d", members=12, precision="float32", device="cpu"),
        "findings": findings,
        "total_haemorrhage_ml": sum(one.volume_ml for one in findings if one.haemorrhage),
        "alert": True,
    }
    return AnalysisResult(**{**values, **stated})


def refused(*texts: str, **stated: Any) -> AnalysisResult:
    values: dict[str, Any] = {
        "status": "not_analysed",
        "written_at": AT,
        "study_instance_uid": "1.2",
        "reasons": tuple(Reason(code="x", text=text) for text in texts),
    }
    return AnalysisResult(**{**values, **stated})


def test_suspected() -> None:
    """The positive headline is the contract's, word for word."""
    assert words.headline(suspected(found())) == (
        "SUSPECTED intracranial haemorrhage, marked by algorithm. Left intraparenchymal 15.2 mL; total 15.2 mL. "
        "Series 3, 28 slices, whole head. Research use only. Not reviewed."
    )


def test_several_findings_with_an_extra_axial_one_cut_by_the_end_of_the_scan() -> None:
    """EAH says that its type is not determined; a cut finding makes its own volume and the total a lower bound."""
    result = suspected(
        found(),
        found(EAH, laterality="right", volume_ml=12.3, touches_edge=True),
        found("Intraventricular", laterality="midline", volume_ml=2.0),
        found("Perilesional oedema", haemorrhage=False, volume_ml=20.0),
        coverage=ResultCoverage(whole_head=False, lowest_mm=0.0, highest_mm=60.0),
        series_number=None,
    )
    assert words.headline(result) == (
        "SUSPECTED intracranial haemorrhage, marked by algorithm. Left intraparenchymal 15.2 mL; "
        "Extra-axial, type not determined (subdural, epidural or subarachnoid), right, at least 12.3 mL; "
        "midline intraventricular 2.0 mL; total at least 29.5 mL. "
        "Series without number, 28 slices, part of the head. Research use only. Not reviewed."
    )


def test_a_side_that_is_not_determined_is_said_to_be() -> None:
    """No side is claimed where none was found."""
    assert words.finding(found(laterality="undetermined")) == "Intraparenchymal, side not determined, 15.2 mL"


def test_below_the_alert_threshold() -> None:
    """A small region is said to be small, and that nobody was called."""
    result = suspected(found(volume_ml=0.3), alert=False)
    assert words.headline(result) == "Small region marked, 0.3 mL, below alert threshold. No alert sent."


@pytest.mark.parametrize(
    ("volume_ml", "at_least", "text"),
    [
        (12.34, True, "at least 12.3 mL"),
        (12.36, False, "12.4 mL"),
        (0.02, False, "less than 0.1 mL"),
        (0.05, False, "0.1 mL"),
        (0.0, False, "0.0 mL"),
    ],
)
def test_volume(volume_ml: float, *, at_least: bool, text: str) -> None:
    """Millilitres have one decimal, and never round to nothing."""
    assert words.volume(volume_ml, at_least=at_least) == text


def test_none_marked() -> None:
    """A negative says what it does not exclude."""
    assert words.headline(suspected(conclusion="none_marked", alert=False)) == (
        "No region marked. This does NOT exclude haemorrhage; small, isodense or subarachnoid blood may be missed."
    )


def test_not_analysed() -> None:
    """No result is never read as a negative one."""
    assert words.headline(refused("Contrast-enhanced series.")) == (
        "NOT ANALYSED - no result. Reason: contrast-enhanced series. Read as usual."
    )
    assert words.headline(refused("CT localizer", "Only 3 slices.")) == (
        "NOT ANALYSED - no result. Reason: CT localizer; only 3 slices. Read as usual."
    )


def test_failed() -> None:
    """A failure uses the same words, and says that it is one."""
    assert words.headline(refused("The model cannot be used.", status="failed")) == (
        "NOT ANALYSED - no result. Reason: the analysis failed: the model cannot be used. Read as usual."
    )


def test_superseded() -> None:
    """The replaced result is named by its time on the same clock, its slices and its volume."""
    before = Replaced(written_at=datetime(2026, 3, 4, 1, 14, tzinfo=UTC), slices=28, total_haemorrhage_ml=15.2)
    result = suspected(found(volume_ml=17.0), slices=32, replaces=before)
    assert words.replaced(result) == "REPLACES result of 02:14 (28 -> 32 slices): 15.2 -> 17.0 mL."
    unknown = replace(result, replaces=replace(before, total_haemorrhage_ml=None))
    assert words.replaced(unknown) == "REPLACES result of 02:14 (28 -> 32 slices): not analysed -> 17.0 mL."
    assert words.replaced(suspected(found())) is None


def test_series_description() -> None:
    """The series is named as the contract says."""
    assert words.SERIES_DESCRIPTION == "AI ICH (RESEARCH) - NOT REVIEWED"


def test_words_are_ascii() -> None:
    """Nothing that another character set could garble goes out."""
    result = refused("Schicht fehlt: 3 \N{MINUS SIGN} 4 \N{RIGHTWARDS ARROW} Änderung.")
    assert words.headline(result).isascii()
    assert "Anderung" in words.headline(result)


def test_a_title_fits_into_a_label() -> None:
    """A title too long for a DICOM label is cut before its bracket."""
    assert words.short_title(EAH) == "Extra-axial, type not determined"
    assert words.short_title("Intraparenchymal") == "Intraparenchymal"
    assert len(words.short_title("x" * 80)) == 64
