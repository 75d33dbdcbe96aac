"""The report for viewers: TID 1500 with TID 1501 groups in which every number has coordinates.

OHIF 3.12 and 3.13 crash on a TID 1411 group, and on a number without coordinates or with anything else below it. So
each number here is inferred from one line on the key slice, and carries nothing besides: the long axis for volume and
length, the short axis for the width. Where nothing was marked there is nothing but words, and no TID 1500 either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from highdicom.sr import (
    CoordinatesForMeasurement,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
)

from ichor.errors import GeometryError
from worker.output import codes
from worker.output.document import build_document
from worker.output.report import (
    algorithm,
    measurement_root,
    name_private_scheme,
    site,
    text_root,
    tracking,
)

if TYPE_CHECKING:
    from pydicom import Dataset

    from worker.findings import Finding, PixelJi
    from worker.output.context import WriteContext


def write_sr(ctx: WriteContext) -> Dataset:
    """Build the viewer-safe report of an analysed study."""
    if ctx.findings:
        return build_document(ctx, "sr", measurement_root(ctx, [_group(ctx, finding) for finding in ctx.findings]))
    dataset = build_document(ctx, "sr", text_root(ctx))
    name_private_scheme(dataset)
    return dataset


def _group(ctx: WriteContext, finding: Finding) -> MeasurementsAndQualitativeEvaluations:
    long_axis = _line(ctx, finding, finding.long_axis_ji)
    numbers = [
        Measurement(codes.VOLUME, round(finding.volume_ml, 2), codes.MILLILITRE, referenced_coordinates=[long_axis]),
        Measurement(
            codes.LONG_AXIS, round(finding.long_axis_mm, 1), codes.MILLIMETRE, referenced_coordinates=[long_axis]
        ),
        Measurement(
            codes.SHORT_AXIS,
            round(finding.short_axis_mm, 1),
            codes.MILLIMETRE,
            referenced_coordinates=[_line(ctx, finding, finding.short_axis_ji)],
        ),
    ]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(ctx, finding),
        finding_type=codes.concept(ctx.label_of(finding).finding),
        finding_sites=[site(ctx, finding)],
        algorithm_id=algorithm(ctx),
        measurements=numbers,
    )


def _line(ctx: WriteContext, finding: Finding, ends_ji: tuple[PixelJi, PixelJi]) -> CoordinatesForMeasurement:
    """Return a line on the key slice; SCOORD counts from the corner of the first pixel (PS3.3 C.18.6.1.1)."""
    if ctx.volume is None:
        raise GeometryError("Coordinates need the volume that they lie in.")
    key = ctx.volume.slices[finding.key_slice]
    (j0, i0), (j1, i1) = ends_ji
    return CoordinatesForMeasurement(
        graphic_type="POLYLINE",
        graphic_data=np.array([[i0 + 0.5, j0 + 0.5], [i1 + 0.5, j1 + 0.5]]),
        source_image=SourceImageForRegion(
            referenced_sop_class_uid=key.sop_class_uid,
            referenced_sop_instance_uid=key.sop_instance_uid,
            referenced_frame_numbers=None if key.frame is None else [key.frame + 1],
        ),
    )
