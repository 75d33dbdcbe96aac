from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from worker.output.context import WriteContext
from worker.reason import Reason
from worker.result import (
    AnalysisResult,
    ResultInvalid,
    ResultPart,
    ResultSource,
    analysed,
    not_analysed,
    result_schema,
)


def test_the_shipped_schema_is_a_json_schema() -> None:
    """The schema that is shipped is valid itself."""
    Draft202012Validator.check_schema(result_schema())


def test_a_result_survives_json(straight: WriteContext, unmarked: WriteContext, refused: WriteContext) -> None:
    """Reading what was written gives the same result, of every status, and one that replaces another."""
    replacing = not_analysed(
        ResultSource(
            study_instance_uid="1.2",
            series_instance_uid=None,
            series_number=None,
            source_instances=0,
            slices=0,
        ),
        (Reason(code="localizer", text="Localizer."),),
        written_at=straight.written_at,
        replaces=straight.result,
    )
    for result in (straight.result, unmarked.result, refused.result, replacing):
        assert AnalysisResult.from_json(result.to_json()) == result


def test_result_json_has_the_keys_of_the_contract(straight: WriteContext) -> None:
    """Scripts find every key that the contract names, with the values of this result."""
    plain = json.loads(straight.result.with_outputs({"seg": "seg.dcm"}).to_json())
    assert plain["schema"] == 1
    assert plain["status"] == "analysed"
    assert plain["conclusion"] == "suspected"
    assert plain["source_instances"] == 10
    assert plain["coverage"] == {"whole_head": True, "lowest_mm": -20.0, "highest_mm": 140.0}
    assert plain["model"]["name"] == "blast-ct-v1"
    assert plain["model"]["members"] == 12
    assert plain["alert"] is True
    assert plain["outputs"] == {"seg": "seg.dcm"}
    (found,) = plain["findings"]
    assert found["label"] == "IPH"
    assert found["haemorrhage"] is True
    assert found["laterality"] == "left"
    assert found["touches_edge"] is False
    assert len(found["volume_range_ml"]) == 2
    assert [len(point) for point in found["bounding_box_lps_mm"]] == [3, 3]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_never_gets_in(straight: WriteContext, number: float) -> None:
    """NaN and infinity are refused where a result is built, written and read."""
    measurement = straight.measurement
    assert measurement is not None
    assert straight.result.model is not None
    source = ResultSource(
        study_instance_uid="1.2", series_instance_uid="1.3", series_number=3, source_instances=1, slices=1
    )
    with pytest.raises(ResultInvalid):
        analysed(
            source,
            replace(measurement, total_haemorrhage_ml=number),
            straight.result.model,
            written_at=straight.written_at,
        )
    with pytest.raises(ResultInvalid):
        replace(straight.result, timing_s={"model": number}).to_json()
    text = straight.result.to_json().replace('"timing_s": {}', '"timing_s": {"model": NaN}')
    with pytest.raises(ResultInvalid):
        AnalysisResult.from_json(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("conclusion", None),
        ("status", "done"),
        ("surplus", 1),
        ("source_instances", -1),
        ("reasons", [{"code": "", "text": "x"}]),
    ],
)
def test_a_result_that_breaks_the_schema_is_refused(straight: WriteContext, key: str, value: Any) -> None:
    """What does not follow schema 1 is not read."""
    plain = json.loads(straight.result.to_json())
    plain[key] = value
    with pytest.raises(ResultInvalid):
        AnalysisResult.from_json(json.dumps(plain))


def test_a_result_never_contradicts_itself(straight: WriteContext, refused: WriteContext) -> None:
    """No conclusion without an analysis, no analysis without a conclusion, no refusal without a reason."""
    with pytest.raises(ResultInvalid):
        replace(straight.result, conclusion=None)
    with pytest.raises(ResultInvalid):
        replace(refused.result, conclusion="none_marked")
    with pytest.raises(ResultInvalid):
        replace(refused.result, reasons=())
    with pytest.raises(ResultInvalid):
        replace(straight.result, written_at=datetime(2026, 3, 4))  # noqa: DTZ001 - the naive time is the point


def test_oedema_alone_is_no_suspicion(tilted: WriteContext) -> None:
    """Oedema counts in no total, conclusion or alert."""
    measurement = tilted.measurement
    assert measurement is not None
    assert tilted.result.model is not None
    oedema = tuple(found for found in measurement.findings if found.label == "oedema")
    result = analysed(
        ResultSource(
            study_instance_uid="1.2", series_instance_uid="1.3", series_number=3, source_instances=28, slices=28
        ),
        replace(measurement, findings=oedema, total_haemorrhage_ml=0.0),
        tilted.result.model,
        written_at=tilted.written_at,
    )
    assert result.conclusion == "none_marked"
    assert result.alert is False
    assert result.total_haemorrhage_ml == 0.0
    assert [found.label for found in result.findings] == ["oedema"]


def test_the_alert_threshold_counts_from_its_own_value(straight: WriteContext) -> None:
    """A total of exactly the threshold alerts; less does not; a threshold of 0 is 0, not the default."""
    measurement = straight.measurement
    assert measurement is not None
    assert straight.result.model is not None
    source = ResultSource(
        study_instance_uid="1.2", series_instance_uid="1.3", series_number=3, source_instances=1, slices=1
    )
    for total_ml, threshold_ml, alert in ((0.5, 0.5, True), (0.49, 0.5, False), (0.01, 0.0, True)):
        result = analysed(
            source,
            replace(measurement, total_haemorrhage_ml=total_ml),
            straight.result.model,
            written_at=straight.written_at,
            alert_min_volume_ml=threshold_ml,
        )
        assert result.alert is alert


def test_fallbacks_and_agreement_survive_the_file(straight: WriteContext) -> None:
    """What was given up for lack of memory, and how many members agree, are read back as they were written."""
    whole = straight.result
    assert whole.model is not None
    part = ResultPart(
        volume_ml=4.0, median_hu=66.0, share_above_100_hu=0.0, skull_mm=None, falx_mm=3.5, members_agreeing=11
    )
    said = replace(
        whole,
        model=replace(whole.model, fallbacks=("one window at a time", "run on the CPU")),
        findings=tuple(replace(finding, parts=(part,)) for finding in whole.findings),
    )
    read = AnalysisResult.from_json(said.to_json())
    assert read.model == said.model
    assert [finding.parts for finding in read.findings] == [(part,)] * len(whole.findings)
