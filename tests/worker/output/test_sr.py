from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from worker.output.context import WriteContext
from worker.output.seg import write_seg
from worker.output.sr import write_sr
from worker.output.sr_record import write_sr_record


def _items(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", []):
        yield from _items(child)


def _named(item: Dataset, code: str) -> list[Dataset]:
    return [one for one in item.get("ContentSequence", []) if one.ConceptNameCodeSequence[0].CodeValue == code]


def _groups(report: Dataset) -> list[Dataset]:
    (measurements,) = _named(report, "126010")
    return _named(measurements, "125007")


def _texts(item: Dataset) -> list[str]:
    return [one.TextValue for one in _named(item, "121106")]


def test_every_number_has_a_line_and_nothing_else(tilted: WriteContext) -> None:
    """OHIF 3.12 and 3.13 open the report: each number has exactly one child, a line on one source image."""
    report = write_sr(tilted)
    assert len(_groups(report)) == 4
    for group in _groups(report):
        numbers = [one for one in group.ContentSequence if one.ValueType == "NUM"]
        assert len(numbers) == 3
        for number in numbers:
            (line,) = number.ContentSequence
            assert line.ValueType == "SCOORD"
            assert len(line.GraphicData) == 4
            (image,) = line.ContentSequence
            assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert not any(one.ValueType == "IMAGE" and "ReferencedSegmentNumber" in one for one in _items(report))


def test_the_line_lies_on_the_key_slice_at_pixel_centres(straight: WriteContext) -> None:
    """Coordinates count from the corner of the first pixel, so that a pixel's centre is at a half."""
    (found,) = straight.findings
    volume = straight.volume
    assert volume is not None
    (group,) = _groups(write_sr(straight))
    (axis,) = _named(group, "103339001")
    (line,) = axis.ContentSequence
    (j0, i0), (j1, i1) = found.long_axis_ji
    assert list(line.GraphicData) == [i0 + 0.5, j0 + 0.5, i1 + 0.5, j1 + 0.5]
    (reference,) = line.ContentSequence[0].ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == volume.slices[found.key_slice].sop_instance_uid


def test_nothing_marked_leaves_presence_open(unmarked: WriteContext) -> None:
    """Where nothing was marked there are no numbers, presence is indeterminate, and the words say so."""
    for report in (write_sr(unmarked), write_sr_record(unmarked, None)):
        assert not any(one.ValueType == "NUM" for one in _items(report))
        codes = [one.ConceptCodeSequence[0].CodeValue for one in _items(report) if one.ValueType == "CODE"]
        assert "82334004" in codes
        assert "2667000" not in codes
        assert "52101004" not in codes
        assert _texts(report)[0].startswith("No region marked. This does NOT exclude haemorrhage")


def test_nothing_marked_is_said_in_words_alone(unmarked: WriteContext) -> None:
    """OHIF 3.12 and 3.13 show an error for a TID 1500 report without a measurement: so it is none."""
    report = write_sr(unmarked)
    assert report.ConceptNameCodeSequence[0].CodeValue == "RESULT"
    assert "ContentTemplateSequence" not in report
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99ICHOR"
    assert not any(one.ValueType in {"IMAGE", "SCOORD"} for one in _items(report))
    assert write_sr_record(unmarked, None).ConceptNameCodeSequence[0].CodeValue == "126000"


def test_the_reports_are_preliminary_and_by_a_device(tilted: WriteContext, unmarked: WriteContext) -> None:
    """An algorithm never verifies, and no person is named as observer."""
    for report in (write_sr(tilted), write_sr_record(tilted, write_seg(tilted)), write_sr(unmarked)):
        assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
            "COMPLETE",
            "PRELIMINARY",
            "UNVERIFIED",
        )
        (observer,) = _named(report, "121005")
        assert observer.ConceptCodeSequence[0].CodeValue == "121007"
        assert not any(one.ValueType == "PNAME" for one in _items(report))
        assert "VerifyingObserverSequence" not in report


def test_the_record_holds_everything_that_was_measured(tilted: WriteContext) -> None:
    """Volume, members' range, axes, density, ABC/2, side in code and words, and the segment itself."""
    segmentation = write_seg(tilted)
    report = write_sr_record(tilted, segmentation)
    study, intraparenchymal, extra_axial, *_ = _groups(report)
    (presence,) = _named(study, "705057003")
    assert presence.ConceptCodeSequence[0].CodeValue == "52101004"
    values = {
        one.ConceptNameCodeSequence[0].CodeValue: float(one.MeasuredValueSequence[0].NumericValue)
        for one in intraparenchymal.ContentSequence
        if one.ValueType == "NUM"
    }
    found = tilted.findings[0]
    assert values["118565006"] == round(found.volume_ml, 3)
    assert values["MEMBERMIN"] == round(found.volume_range_ml[0], 3)
    assert values["MEMBERMAX"] == round(found.volume_range_ml[1], 3)
    assert values["103339001"] == round(found.long_axis_mm, 3)
    assert values["112031"] == 67.9
    assert found.abc2_ml is not None
    assert values["ABC2"] == round(found.abc2_ml, 3)
    assert not _named(extra_axial, "ABC2")
    (side,) = _named(intraparenchymal, "272741003")
    assert side.ConceptCodeSequence[0].CodeValue == "7771000"
    assert _texts(intraparenchymal) == [f"Left intraparenchymal {found.volume_ml:.1f} mL."]
    assert _texts(extra_axial)[1] == "Cut by the end of the scan: the volume is a lower bound."
    (segment,) = [one for one in intraparenchymal.ContentSequence if one.ValueType == "IMAGE"]
    (reference,) = segment.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
    assert reference.ReferencedSegmentNumber == 1
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99ICHOR"


def test_tracking_is_shared_between_all_objects(tilted: WriteContext) -> None:
    """A finding has one tracking identity in the segmentation and in both reports."""
    segmentation = write_seg(tilted)
    in_seg = [(item.TrackingID, item.TrackingUID) for item in segmentation.SegmentSequence]
    for report, skipped in ((write_sr(tilted), 0), (write_sr_record(tilted, segmentation), 1)):
        groups = _groups(report)[skipped:]
        assert [(_named(group, "112039")[0].TextValue, _named(group, "112040")[0].UID) for group in groups] == in_seg


def test_warnings_stand_in_both_reports(tilted: WriteContext) -> None:
    """What to be careful about is said in words, and so is that nobody reviewed it."""
    for report in (write_sr(tilted), write_sr_record(tilted, write_seg(tilted))):
        texts = _texts(report)
        assert texts[0].startswith("SUSPECTED intracranial haemorrhage, marked by algorithm.")
        assert "Warning: Part of the marked region is denser than 100 HU, as calcium is." in texts
        assert texts[-1] == "Research use only. Produced by an algorithm, not reviewed."


def test_all_sources_are_evidence(tilted: WriteContext) -> None:
    """Each source instance is referenced, and the record references the segmentation as well."""
    segmentation = write_seg(tilted)
    expected = {str(header.SOPInstanceUID) for header in tilted.source}
    for report, further in (
        (write_sr(tilted), set[str]()),
        (write_sr_record(tilted, segmentation), {str(segmentation.SOPInstanceUID)}),
    ):
        (study,) = report.CurrentRequestedProcedureEvidenceSequence
        found = {
            item.ReferencedSOPInstanceUID
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        assert found == expected | further
