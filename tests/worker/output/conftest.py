"""Results of several kinds, ready to be written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import models
from models.spec import ModelSpec, load_spec
from tests.worker.output.cases import Geometry, context, finding, paint_ball, read_case, write_series
from worker.output.context import WriteContext
from worker.reason import Reason
from worker.result import ResultSource, not_analysed

EDGE_WARNING = Reason(code="calcification", text="Part of the marked region is denser than 100 HU, as calcium is.")


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    """The default model's spec, as shipped."""
    return load_spec(Path(str(models.__file__)).parent / "specs" / "blast-ct-v1.json")


@pytest.fixture(scope="session")
def tilted(test_data_dir: Path, spec: ModelSpec) -> WriteContext:
    """Four labels in the real tilted, unevenly spaced GE series."""
    series, volume = read_case(tuple(sorted((test_data_dir / "ge-hispeed-tilt").glob("*.dcm"))))
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, labels, spec.label("oedema").index, (33.7, -0.9, 57.7), 22.0)
    paint_ball(volume, labels, spec.label("IPH").index, (33.7, -0.9, 57.7), 15.5)
    paint_ball(volume, labels, spec.label("EAH").index, (-58.0, 10.0, 70.0), 8.0)
    paint_ball(volume, labels, spec.label("IVH").index, (8.0, 25.0, 70.0), 5.0)
    findings = (
        finding(volume, labels, spec, "IPH"),
        finding(volume, labels, spec, "EAH", touches_edge=True, abc2_ml=None),
        finding(volume, labels, spec, "oedema", abc2_ml=None),
        finding(volume, labels, spec, "IVH", abc2_ml=None, laterality="midline"),
    )
    return context(series, volume, labels, spec, findings, warnings=(EDGE_WARNING,))


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec) -> WriteContext:
    """One haemorrhage on the patient's left in a small synthetic series."""
    series, volume = read_case(write_series(tmp_path_factory.mktemp("straight"), Geometry()))
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, labels, 1, (30.0, 0.0, 0.0), 16.0)
    return context(series, volume, labels, spec, (finding(volume, labels, spec, "IPH"),))


@pytest.fixture(scope="session")
def unmarked(straight: WriteContext, spec: ModelSpec) -> WriteContext:
    """The same series with nothing marked."""
    if straight.volume is None:
        raise ValueError("the straight series has a volume")
    labels = np.zeros(straight.volume.hu_kji.shape, dtype=np.uint8)
    (study,) = {str(header.StudyInstanceUID) for header in straight.source}
    series_like = read_case(tuple(sorted({part.path for part in straight.volume.slices})))[0]
    if series_like.study_instance_uid != study:
        raise ValueError("another study")
    return context(series_like, straight.volume, labels, spec, ())


@pytest.fixture(scope="session")
def refused(straight: WriteContext) -> WriteContext:
    """The same series, not analysed."""
    source = ResultSource(
        study_instance_uid=straight.result.study_instance_uid,
        series_instance_uid=straight.result.series_instance_uid,
        series_number=3,
        source_instances=10,
        slices=10,
    )
    reasons = (Reason(code="contrast", text="Contrast-enhanced series."),)
    return replace(
        straight,
        result=not_analysed(source, reasons, written_at=straight.written_at),
        volume=None,
        labels_kji=None,
        spec=None,
        plan=None,
        measurement=None,
    )
