"""The segmentation: one segment per marked label, frame for frame on the source's own slices.

BINARY without empty frames, which most viewers read, unless the profile asks for LABELMAP or all frames. Tilted and
unevenly spaced series keep every slice's own position. Nothing is written where labels and source do not lie in the
same place (PS3.3 A.51, C.8.20).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from ichor import __version__
from ichor.errors import GeometryError
from worker.output import codes, words
from worker.output.algorithm import algorithm_facts
from worker.output.instance import MANUFACTURER, MODEL_NAME, complete, stand_in
from worker.output.naming import series_uid, sop_uid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from worker.findings import Finding
    from worker.output.context import WriteContext
    from worker.slices import Slice
    from worker.volume import Volume

TRANSFER_SYNTAXES = {"binary": ExplicitVRLittleEndian, "labelmap": RLELossless}
"""A bitmap cannot be compressed (PS3.5 8.2); labels are bytes, and mostly zero."""
POSITION_TOLERANCE_MM = 0.01
COSINE_TOLERANCE = 1e-3


def write_seg(ctx: WriteContext) -> Dataset:
    """Build the SEG of what was marked; raise GeometryError where labels and source do not match."""
    volume, labels_kji = ctx.volume, ctx.labels_kji
    if volume is None or labels_kji is None or not ctx.findings:
        raise GeometryError("There is nothing marked to write a segmentation of.")
    check_layout(volume, labels_kji, ctx.source)
    ks = _written_slices(ctx, volume, labels_kji)
    parts = [volume.slices[k] for k in ks]
    dataset = Segmentation(
        source_images=_source_images(ctx, volume, parts),
        pixel_array=_numbered(ctx, labels_kji[ks]),
        segmentation_type=ctx.profile.seg_encoding.upper(),
        segment_descriptions=[_describe(ctx, number, found) for number, found in enumerate(ctx.findings, start=1)],
        series_instance_uid=series_uid(ctx, "seg"),
        series_number=1,
        sop_instance_uid=sop_uid(ctx, "seg"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number="1",
        content_label="ICHOR",
        content_description=ctx.profile.series_description[: words.LONGEST_LABEL],
        transfer_syntax_uid=TRANSFER_SYNTAXES[ctx.profile.seg_encoding],
        pixel_measures=_pixel_measures(ctx, volume),
        plane_orientation=PlaneOrientationSequence("PATIENT", _orientation(ctx, volume)),
        plane_positions=[PlanePositionSequence("PATIENT", part.position_lps_mm) for part in parts],
        omit_empty_frames=not ctx.profile.seg_empty_frames,
        specific_character_set=None,
    )
    dataset.ContentCreatorName = ""  # PS3.3 Table 10-12: type 2, and an algorithm is no person
    _fix_dimension_organization(dataset, ctx.identity.uid("seg-dimension-organization"))
    dataset.ReferencedSeriesSequence = [_source_series(ctx, volume)]
    return complete(dataset, ctx, "seg")


def _written_slices(ctx: WriteContext, volume: Volume, labels_kji: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """List the slices that get frames: those with marks, or all where the profile asks for them.

    Of a multi-frame source always all, for highdicom wants every frame of it; it leaves the empty ones out itself.
    """
    if ctx.profile.seg_empty_frames or volume.slices[0].frame is not None:
        return np.arange(len(volume.slices))
    return np.flatnonzero(labels_kji.any(axis=(1, 2)))


def _numbered(ctx: WriteContext, labels_kji: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Turn the spec's label indices into segment numbers, which count up from 1."""
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[[finding.index for finding in ctx.findings]] = np.arange(1, len(ctx.findings) + 1)
    return numbers[labels_kji]


def _source_series(ctx: WriteContext, volume: Volume) -> Dataset:
    """Refer to every slice that was looked at, also where nothing was marked (PS3.3 C.12.2)."""
    series = Dataset()
    series.SeriesInstanceUID = str(ctx.source[0].SeriesInstanceUID)
    series.ReferencedInstanceSequence = []
    for sop_instance_uid, sop_class_uid in {one.sop_instance_uid: one.sop_class_uid for one in volume.slices}.items():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        series.ReferencedInstanceSequence.append(item)
    return series


def check_layout(volume: Volume, labels_kji: npt.NDArray[np.uint8], source: tuple[Dataset, ...]) -> None:
    """Raise GeometryError unless labels, volume and source headers agree in shape, instances and places."""
    first = volume.slices[0]
    expected = (len(volume.slices), first.rows, first.columns)
    if labels_kji.shape != expected:
        raise GeometryError(f"Labels of shape {labels_kji.shape} do not fit slices of shape {expected}.")
    if len({slice_.position_lps_mm for slice_ in volume.slices}) != len(volume.slices):
        raise GeometryError("Two slices lie in the same place.")
    headers = {str(header.SOPInstanceUID): header for header in source}
    for k, slice_ in enumerate(volume.slices):
        header = headers.get(slice_.sop_instance_uid)
        if header is None:
            raise GeometryError(f"Slice {k} comes from an instance that is not among the sources.")
        if (header.Rows, header.Columns) != expected[1:]:
            raise GeometryError(f"Slice {k} has another size than its source.")
        if slice_.frame is None:
            _check_place(k, slice_, volume, header)


def _check_place(k: int, slice_: Slice, volume: Volume, header: Dataset) -> None:
    position = np.asarray([float(value) for value in header.ImagePositionPatient])
    if not np.allclose(position, slice_.position_lps_mm, rtol=0, atol=POSITION_TOLERANCE_MM):
        raise GeometryError(f"Slice {k} lies elsewhere than its source.")
    cosines = np.asarray([float(value) for value in header.ImageOrientationPatient])
    if not np.allclose(cosines, _cosines(volume), rtol=0, atol=COSINE_TOLERANCE):
        raise GeometryError(f"Slice {k} is turned against its source.")
    spacing = [float(value) for value in header.PixelSpacing]
    if not np.allclose(spacing, (volume.row_spacing_mm, volume.column_spacing_mm), rtol=1e-3):
        raise GeometryError(f"Slice {k} has another pixel spacing than its source.")


def _source_images(ctx: WriteContext, volume: Volume, parts: Sequence[Slice]) -> list[Dataset]:
    """Return one source for each of these slices, or the one multi-frame source, in the form that highdicom accepts."""
    if volume.slices[0].frame is not None:
        return [_multi_frame_source(ctx, volume)]
    headers = {str(header.SOPInstanceUID): header for header in ctx.source}
    common = _common_source(ctx, volume)
    images = []
    for slice_ in parts:
        image = Dataset()
        image.update(common)
        image.SOPClassUID, image.SOPInstanceUID = slice_.sop_class_uid, slice_.sop_instance_uid
        image.ImagePositionPatient = PlanePositionSequence("PATIENT", slice_.position_lps_mm)[0].ImagePositionPatient
        header = headers[slice_.sop_instance_uid]
        if header.get("LossyImageCompression") == "01":
            for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
                if keyword in header and not header[keyword].is_empty:
                    image[keyword] = header[keyword]
        images.append(image)
    return images


def _common_source(ctx: WriteContext, volume: Volume) -> Dataset:
    """Return what all single-frame sources share, with one orientation and spacing to the last digit."""
    dataset = stand_in(ctx)
    first, measures = volume.slices[0], _pixel_measures(ctx, volume)[0]
    dataset.FrameOfReferenceUID = _frame_of_reference(ctx)
    dataset.PositionReferenceIndicator = ctx.source[0].get("PositionReferenceIndicator")
    dataset.Rows, dataset.Columns = first.rows, first.columns
    dataset.PixelSpacing, dataset.SliceThickness = measures.PixelSpacing, measures.SliceThickness
    orientation = PlaneOrientationSequence("PATIENT", _orientation(ctx, volume))
    dataset.ImageOrientationPatient = orientation[0].ImageOrientationPatient
    return dataset


def _multi_frame_source(ctx: WriteContext, volume: Volume) -> Dataset:
    """Return the multi-frame source with one orientation and spacing for all frames, as the volume has them."""
    sop_instance_uid = volume.slices[0].sop_instance_uid
    if any(slice_.sop_instance_uid != sop_instance_uid for slice_ in volume.slices):
        raise GeometryError("A volume out of several multi-frame instances cannot be written as one segmentation.")
    header = next(header for header in ctx.source if header.SOPInstanceUID == sop_instance_uid)
    dataset = stand_in(ctx)
    dataset.SOPClassUID, dataset.SOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    dataset.FrameOfReferenceUID = _frame_of_reference(ctx)
    dataset.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = header.Rows, header.Columns, header.NumberOfFrames
    shared = Dataset()
    shared.PlaneOrientationSequence = PlaneOrientationSequence("PATIENT", _orientation(ctx, volume))
    shared.PixelMeasuresSequence = _pixel_measures(ctx, volume)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for group in header.PerFrameFunctionalGroupsSequence:
        frame = Dataset()
        frame.PlanePositionSequence = group.PlanePositionSequence
        dataset.PerFrameFunctionalGroupsSequence.append(frame)
    return dataset


def _describe(ctx: WriteContext, number: int, finding: Finding) -> SegmentDescription:
    label = ctx.label_of(finding)
    region = codes.concept(label.region)
    if finding.laterality in codes.SIDES:
        region.AnatomicRegionModifierSequence = [codes.SIDES[finding.laterality]]  # CID 244
    description = SegmentDescription(
        segment_number=number,
        segment_label=words.short_title(label.title),
        segmented_property_category=codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.concept(label.segment_type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=_algorithm(ctx),
        tracking_uid=ctx.tracking_uid(finding),
        tracking_id=ctx.tracking_id(finding),
        anatomic_regions=[region],
        display_color=CIELabColor.from_rgb(*label.colour_rgb),
    )
    description.SegmentDescription = f"{words.plain(label.title)}. {words.RESEARCH_USE}"
    return description


def _algorithm(ctx: WriteContext) -> AlgorithmIdentificationSequence:
    facts = algorithm_facts(ctx)
    return AlgorithmIdentificationSequence(
        name=facts.name,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=facts.version,
        parameters=facts.parameters,
    )


def _pixel_measures(ctx: WriteContext, volume: Volume) -> PixelMeasuresSequence:
    """Give the pixel measures; where the source states no thickness, the middle share of the distance stands in."""
    stated = ctx.source[0].get("SliceThickness")
    thickness_mm = float(np.median(volume.shares_mm)) if stated is None or float(stated) <= 0 else float(stated)
    return PixelMeasuresSequence(
        pixel_spacing=(volume.row_spacing_mm, volume.column_spacing_mm), slice_thickness=thickness_mm
    )


def _cosines(volume: Volume) -> tuple[float, ...]:
    return (*volume.row_cosine, *volume.column_cosine)


def _orientation(ctx: WriteContext, volume: Volume) -> tuple[float, ...]:
    """Give the orientation to the digit as the source writes it; of a multi-frame source, the volume's."""
    first = volume.slices[0]
    if first.frame is not None:
        return _cosines(volume)
    header = next(header for header in ctx.source if header.SOPInstanceUID == first.sop_instance_uid)
    return tuple(float(value) for value in header.ImageOrientationPatient)


def _frame_of_reference(ctx: WriteContext) -> str:
    """Return the source's frame of reference; where it lacks one, one that all objects of the result share."""
    stated = ctx.source[0].get("FrameOfReferenceUID")
    return str(stated) if stated else ctx.identity.uid("frame-of-reference")


def _fix_dimension_organization(dataset: Dataset, uid: str) -> None:
    """Put a derived UID where highdicom makes a random one."""
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
