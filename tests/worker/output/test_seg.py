from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest

from ichor.errors import GeometryError
from models.spec import ModelSpec
from tests.worker.output.cases import (
    Geometry,
    context,
    finding,
    paint_ball,
    read,
    read_case,
    write_enhanced,
    write_series,
)
from worker.output.context import WriteContext
from worker.output.instance import to_bytes
from worker.output.seg import write_seg


def _read_back(ctx: WriteContext, path: Path) -> highdicom.seg.Segmentation:
    path.write_bytes(to_bytes(write_seg(ctx)))
    return highdicom.seg.Segmentation.from_dataset(read(path))


def test_every_slice_comes_back_voxel_for_voxel(tilted: WriteContext, tmp_path: Path) -> None:
    """On a tilted, unevenly spaced series each source slice gets exactly its own labels back."""
    segmentation = _read_back(tilted, tmp_path / "seg.dcm")
    volume, labels = tilted.volume, tilted.labels_kji
    assert volume is not None
    assert labels is not None
    pixels = segmentation.get_pixels_by_source_instance(
        [part.sop_instance_uid for part in volume.slices], assert_missing_frames_are_empty=True
    )
    for number, found in enumerate(tilted.findings):
        assert np.array_equal(pixels[..., number] > 0, labels == found.index)


def test_each_frame_lies_where_its_source_lies(tilted: WriteContext) -> None:
    """Every frame has the position of the slice that it names as its source, and there are no empty frames."""
    dataset = write_seg(tilted)
    volume, labels = tilted.volume, tilted.labels_kji
    assert volume is not None
    assert labels is not None
    positions = {part.sop_instance_uid: part.position_lps_mm for part in volume.slices}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(position, positions[source.ReferencedSOPInstanceUID], atol=1e-4)
    marked = sum(int((labels == found.index).any(axis=(1, 2)).sum()) for found in tilted.findings)
    assert int(dataset.NumberOfFrames) == marked
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == tilted.source[0].SeriesInstanceUID


def test_segments_say_what_they_are(tilted: WriteContext) -> None:
    """Names, codes, sides, colours, tracking and the model's digest stand in every segment."""
    dataset = write_seg(tilted)
    segments = dataset.SegmentSequence
    assert [item.SegmentLabel for item in segments] == [
        "Intraparenchymal",
        "Extra-axial, type not determined",
        "Perilesional oedema",
        "Intraventricular",
    ]
    assert [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in segments] == [
        "50960005",
        "50960005",
        "79654002",
        "50960005",
    ]
    assert [item.AnatomicRegionSequence[0].CodeValue for item in segments] == [
        "12738006",
        "1101003",
        "12738006",
        "35764002",
    ]
    sides = [item.AnatomicRegionSequence[0].get("AnatomicRegionModifierSequence") for item in segments]
    assert [side[0].CodeValue if side else None for side in sides] == ["7771000", "24028007", "7771000", None]
    assert len({tuple(item.RecommendedDisplayCIELabValue) for item in segments}) == 4
    assert len({item.TrackingUID for item in segments}) == 4
    assert tilted.spec is not None
    for item in segments:
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        (algorithm,) = item.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
        assert tilted.spec.digest in algorithm.AlgorithmParameters
    assert dataset.SegmentationType == "BINARY"
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (dataset.Rows, dataset.Columns) == (512, 512)
    assert dataset.SeriesDescription == "AI ICH (RESEARCH) - NOT REVIEWED"
    assert dataset.ContentCreatorName == ""


SIGNS = [
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 5.0)),
    ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 5.0)),
    ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 5.0)),
    ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -5.0)),
    ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, -5.0)),
]


@pytest.mark.parametrize(("row", "column", "step"), SIGNS)
def test_the_centre_stays_in_place_for_every_sign(
    row: tuple[float, float, float],
    column: tuple[float, float, float],
    step: tuple[float, float, float],
    spec: ModelSpec,
    tmp_path: Path,
) -> None:
    """A ball on the patient's left is found there again, whatever the signs of the direction cosines."""
    series, volume = read_case(
        write_series(tmp_path / "ct", Geometry(row_cosine=row, column_cosine=column, step_lps_mm=step))
    )
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, labels, 1, (30.0, -10.0, 5.0), 18.0)
    segmentation = _read_back(
        context(series, volume, labels, spec, (finding(volume, labels, spec, "IPH"),)), tmp_path / "seg.dcm"
    )
    points = []
    frames = segmentation.pixel_array
    (orientation,) = segmentation.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    cosines = np.array(orientation.ImageOrientationPatient, dtype=float)
    for frame, group in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        j, i = np.nonzero(frame)
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        points.append(origin + 3.5 * (i[:, None] * cosines[:3] + j[:, None] * cosines[3:]))
    assert np.allclose(np.concatenate(points).mean(axis=0), (30.0, -10.0, 5.0), atol=1.5)


def test_a_multi_frame_source_is_referred_to_by_frame(spec: ModelSpec, tmp_path: Path) -> None:
    """On Enhanced CT each frame of the result names the frame that it lies on."""
    series, volume = read_case((write_enhanced(tmp_path / "enhanced.dcm", Geometry()),))
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, labels, 1, (30.0, 0.0, 0.0), 16.0)
    ctx = context(series, volume, labels, spec, (finding(volume, labels, spec, "IPH"),))
    segmentation = _read_back(ctx, tmp_path / "seg.dcm")
    frames = [part.frame + 1 for part in volume.slices if part.frame is not None]
    pixels = segmentation.get_pixels_by_source_frame(
        volume.slices[0].sop_instance_uid, frames, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(pixels[..., 0] > 0, labels == 1)


def test_labels_of_another_shape_are_refused(straight: WriteContext) -> None:
    """Labels that do not fit the slices are never written."""
    labels = straight.labels_kji
    assert labels is not None
    with pytest.raises(GeometryError):
        write_seg(replace(straight, labels_kji=labels[:-1]))
    with pytest.raises(GeometryError):
        write_seg(replace(straight, labels_kji=labels[:, :-1]))


def test_a_moved_volume_is_refused(straight: WriteContext) -> None:
    """A volume that lies elsewhere than its source, or is not from it, is never written."""
    volume = straight.volume
    assert volume is not None
    first = volume.slices[0]
    x, y, z = first.position_lps_mm
    moved = replace(first, position_lps_mm=(x + 1.0, y, z))
    foreign = replace(first, sop_instance_uid="1.2.3")
    for slice_ in (moved, foreign, replace(first, position_lps_mm=volume.slices[1].position_lps_mm)):
        with pytest.raises(GeometryError):
            write_seg(replace(straight, volume=replace(volume, slices=(slice_, *volume.slices[1:]))))
    turned = replace(volume, row_cosine=(-1.0, 0.0, 0.0))
    with pytest.raises(GeometryError):
        write_seg(replace(straight, volume=turned))


def test_a_source_with_odd_values_still_gets_its_result(spec: ModelSpec, tmp_path: Path) -> None:
    """A sex that the standard does not list, and no slice thickness, are copied or stood in for."""
    paths = write_series(
        tmp_path / "ct", Geometry(), {"PatientSex": "U", "SliceThickness": None, "PatientIdentityRemoved": "NO"}
    )
    series, volume = read_case(paths)
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, labels, 1, (30.0, 0.0, 0.0), 16.0)
    dataset = write_seg(context(series, volume, labels, spec, (finding(volume, labels, spec, "IPH"),)))
    assert dataset.PatientSex == "U"
    (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert float(measures.SliceThickness) == pytest.approx(5.0)
