"""A series with given labels as a finished answer: what the writers take, without a model having looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from ichor.clock import utc_now
from ichor.identity import ResultIdentity
from models.segmenter import Plan
from worker.conclusion import WRITER_VERSION
from worker.measure import measure
from worker.output.attributes import StudyAttributes
from worker.output.context import WriteContext
from worker.result import ResultModel, ResultSource, analysed
from worker.series import read_studies
from worker.volume import read_volume

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    import numpy.typing as npt

    from models.spec import ModelSpec
    from worker.series import Series
    from worker.volume import Volume

ENGINE = "given-labels"
"""Stands where an engine's name stands, so that such an answer is never taken for a model's."""


def read_series(paths: Iterable[Path]) -> tuple[Series, Volume]:
    """Read the only series that the files hold."""
    (study,) = read_studies(paths)
    (series,) = study.series
    return series, read_volume(series)


def phantom_labels(folder: Path) -> npt.NDArray[np.uint8]:
    """Read a phantom's truth as (slices, rows, columns), from foot to head."""
    image = nib.load(folder / "truth.nii.gz")
    labels_ijk: npt.NDArray[np.uint8] = np.asarray(image.dataobj, dtype=np.uint8)  # type: ignore[attr-defined]
    return np.ascontiguousarray(labels_ijk.transpose(2, 1, 0))


def marked(
    series: Series,
    volume: Volume,
    labels_kji: npt.NDArray[np.uint8],
    spec: ModelSpec,
    *,
    written_at: datetime | None = None,
) -> WriteContext:
    """Measure the labels and put everything together as the pipeline does; without `written_at`, now."""
    now = utc_now() if written_at is None else written_at
    measurement = measure(volume, labels_kji, spec, np.empty((0, len(spec.labels))))
    plan = Plan(model=spec.name, model_digest=spec.digest, members=spec.members, precision="float32", engine=ENGINE)
    model = ResultModel(
        name=spec.name,
        version=spec.version,
        digest=spec.digest,
        members=len(spec.members),
        precision=plan.precision,
        device="cpu",
    )
    number = series.header.get("SeriesNumber")
    source = ResultSource(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        series_number=None if number is None else int(number),
        source_instances=len(series.headers),
        slices=len(volume.slices),
    )
    identity = ResultIdentity(
        source_sop_instance_uids=tuple(str(header.SOPInstanceUID) for header in series.headers),
        attributes_digest=StudyAttributes.of(series.header).digest,
        model_digest=spec.digest,
        plan_digest=plan.digest,
        writer_version=WRITER_VERSION,
    )
    return WriteContext(
        identity=identity,
        result=analysed(source, measurement, model, written_at=now),
        source=series.headers,
        written_at=now,
        volume=volume,
        labels_kji=labels_kji,
        spec=spec,
        plan=plan,
        measurement=measurement,
    )
