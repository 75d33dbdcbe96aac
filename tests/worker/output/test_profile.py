"""What a destination asks for is written as objects of its own, beside the default ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydantic import ValidationError
from pydicom.uid import RLELossless

from ichor.settings import DicomwebDestination, DimseDestination, Hl7Destination
from tests.worker.output.cases import read
from worker.output.context import WriteContext
from worker.output.profile import Profile, Variant, profile_of, variants_of
from worker.output.write import WrittenObject, write_all
from worker.result import AnalysisResult

PACS = DimseDestination(name="pacs", host="127.0.0.1", ae_title="PACS")
LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"


def _written(
    ctx: WriteContext, out: Path, profile: Profile, kinds: tuple[str, ...] = ("seg",)
) -> dict[str, WrittenObject]:
    variant = Variant(profile=profile, kinds=frozenset(kinds))  # type: ignore[arg-type]
    return {one.kind: one for one in write_all(ctx, out, (variant,)) if one.variant}


def test_default_settings_ask_for_the_default_objects() -> None:
    """A destination that asks for nothing gets the objects that are written anyway."""
    web = DicomwebDestination(name="web", url="https://pacs.example")
    hl7 = Hl7Destination(name="engine", host="127.0.0.1")
    assert [profile_of(one) for one in (PACS, web, hl7)] == [Profile()] * 3
    assert Profile().variant == ""
    assert variants_of((PACS, web, hl7)) == ()


def test_destinations_that_ask_for_the_same_share_it() -> None:
    """One variant for two destinations of one profile, with what either of them takes."""
    first = PACS.model_copy(update={"seg_encoding": "labelmap", "send": ("seg",)})
    second = first.model_copy(update={"name": "other", "send": ("summary",)})
    (variant,) = variants_of((PACS, first, second))
    assert variant.kinds == {"seg", "summary"}
    assert variant.profile.seg_encoding == "labelmap"


@pytest.mark.parametrize("text", ["AI ICH", "AI (RESEARCH)", "x" * 65, "KI (RESEARCH) - NOT REVIEWED ü"])
def test_a_description_never_hides_what_it_is(text: str) -> None:
    """Whatever a site calls the series, it says that it is research and not reviewed."""
    with pytest.raises(ValidationError):
        DimseDestination(name="pacs", host="127.0.0.1", ae_title="PACS", series_description=text)


def test_a_labelmap_holds_the_same_voxels(tilted: WriteContext, tmp_path: Path) -> None:
    """LABELMAP, read by source instance, gives back each segment voxel for voxel, at a fraction of the size."""
    variant = _written(tilted, tmp_path, Profile(seg_encoding="labelmap"))["seg"]
    dataset = read(variant.path)
    assert dataset.SOPClassUID == variant.sop_class_uid == LABELMAP_STORAGE
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    assert dataset.SegmentationType == "LABELMAP"
    segmentation = highdicom.seg.Segmentation.from_dataset(dataset)
    assert tilted.volume is not None
    assert tilted.labels_kji is not None
    pixels = segmentation.get_pixels_by_source_instance(
        [part.sop_instance_uid for part in tilted.volume.slices], assert_missing_frames_are_empty=True
    )
    for number, found in enumerate(tilted.findings):
        assert np.array_equal(pixels[..., number] > 0, tilted.labels_kji == found.index)
    assert variant.path.stat().st_size < (tmp_path / "seg.dcm").stat().st_size / 3


def test_empty_frames_are_written_where_asked_for(straight: WriteContext, tmp_path: Path) -> None:
    """Then each segment has a frame on every slice."""
    variant = _written(straight, tmp_path, Profile(seg_empty_frames=True))["seg"]
    assert read(variant.path).NumberOfFrames == len(straight.source)
    assert read(tmp_path / "seg.dcm").NumberOfFrames < len(straight.source)


def test_a_variant_has_uids_of_its_own(straight: WriteContext, tmp_path: Path) -> None:
    """No object and no series is shared with the default ones, and the record refers to its own segmentation."""
    kinds = ("seg", "sr", "sr-record", "summary")
    variant = _written(straight, tmp_path, Profile(series_number=500, summary_modality="CT"), kinds)
    assert sorted(variant) == sorted(kinds)
    for kind, one in variant.items():
        own, default = read(one.path), read(tmp_path / f"{kind}.dcm")
        assert own.SOPInstanceUID != default.SOPInstanceUID
        assert own.SeriesInstanceUID != default.SeriesInstanceUID
        assert own.StudyInstanceUID == default.StudyInstanceUID
    assert read(variant["seg"].path).SeriesNumber == 501
    assert read(variant["summary"].path).Modality == "CT"
    record = read(variant["sr-record"].path)
    references = {
        item.ReferencedSOPInstanceUID
        for study in record.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert variant["seg"].sop_instance_uid in references
    outputs = AnalysisResult.from_json((tmp_path / "result.json").read_bytes()).outputs
    assert outputs["seg"] == "seg.dcm"


def test_only_what_is_taken_is_written(straight: WriteContext, tmp_path: Path) -> None:
    """A variant whose destinations take the record alone has no other file."""
    variant = _written(straight, tmp_path, Profile(institution_name="General"), ("sr-record",))
    assert list(variant) == ["sr-record"]
    assert read(variant["sr-record"].path).InstitutionName == "General"


def test_private_elements_stand_in_a_reserved_block(straight: WriteContext, tmp_path: Path) -> None:
    """They are there only where asked for, under our creator, and hold the whole result."""
    variant = _written(straight, tmp_path, Profile(private_tags=True), ("summary",))["summary"]
    block = read(variant.path).private_block(0x0099, "ICHOR")
    assert AnalysisResult.from_json(block[0x01].value) == replace(straight.result, outputs={}, timing_s={})
    assert block[0x02].value == straight.identity.digest
    assert not any(element.tag.is_private for element in read(tmp_path / "summary.dcm"))
