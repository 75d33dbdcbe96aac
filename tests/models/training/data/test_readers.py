"""Every reader on a miniature of the real layout: what is there is read, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.evaluation.label_map import FIVE_SUBTYPE, FOUR_CLASS
from models.phantoms import PhantomPlan, write_phantom
from models.training.data import bhx, cq500
from models.training.data.case import BadDataSet, DataSet
from models.training.data.catalogue import read_data
from models.training.data.licence import inherited
from models.training.data.overlap import DataOverlap, refuse_overlaps
from tests.models.training.data import layouts


def faults(data: DataSet) -> dict[str, str]:
    return {fault.name: fault.code for fault in data.faults}


def test_physionet(tmp_path: Path) -> None:
    """Masks by scan, subtypes by slice; a missing mask and one of another shape are named."""
    data = read_data(layouts.physionet(tmp_path))
    assert data.name == "physionet-ct-ich"
    assert [case.name for case in data.cases] == ["049", "050"]
    assert faults(data) == {"051": "missing_mask", "052": "mismatched_shape", "060": "missing_image"}
    assert data.cases[0].subtypes == frozenset({"IPH", "SDH"})
    assert [(one.index, sorted(one.subtypes)) for one in data.cases[0].slices] == [(0, []), (1, ["IPH", "SDH"])]
    assert data.cases[1].subtypes is None
    assert data.label_map is not None
    assert data.label_map.values == {1, 255}


def test_bhsd(tmp_path: Path) -> None:
    """Both scans of a patient have its key; a header that lies elsewhere is told, a name without patient refused."""
    data = read_data(layouts.bhsd(tmp_path))
    assert {case.name: case.patient for case in data.cases} == {
        "ID_aa_ID_01": "rsna-2019:ID_aa",
        "ID_aa_ID_02": "rsna-2019:ID_aa",
    }
    assert faults(data) == {"scan7": "no_patient"}
    assert any("ID_aa_ID_02" in note and "affine" in note for note in data.notes)


def test_mbh_seg(tmp_path: Path) -> None:
    """Raters in their order, a consensus where there is one, exams with their subtypes."""
    data = read_data(layouts.mbh_seg(tmp_path))
    one, two, three = data.cases
    assert [path.name for path in one.masks.raters] == [f"label_annot_{number}.nii.gz" for number in (1, 2, 10)]
    assert one.masks.mask is None
    assert two.masks.mask is not None
    assert (three.subtypes, three.segmented) == (frozenset({"IPH", "SDH"}), False)
    assert faults(data) == {"ID_dd_ID_04": "missing_image"}


def test_seg_cq500(tmp_path: Path) -> None:
    """A sheared affine is kept and told."""
    data = read_data(layouts.seg_cq500(tmp_path))
    assert [case.patient for case in data.cases] == ["cq500:CQ500-CT-7"]
    assert faults(data) == {"CQ500-CT-8": "missing_mask"}
    assert any("tilted" in note for note in data.notes)


def test_instance2022(tmp_path: Path) -> None:
    """The folder of the download, or the part within it."""
    assert [case.name for case in read_data(layouts.instance2022(tmp_path)).cases] == ["001", "002"]
    assert len(read_data(tmp_path / "train_2").cases) == 2


def test_cq500(tmp_path: Path) -> None:
    """The plain series is taken; a subtype needs two of three readers."""
    data = read_data(layouts.cq500(tmp_path))
    (case,) = data.cases
    assert (case.name, case.subtypes, len(case.dicom)) == ("CQ500-CT-7", frozenset({"IPH"}), 16)
    assert case.dicom[0].parent.name == "CT Plain"
    assert faults(data) == {"CQ500-CT-8": "missing_image", "CQ500-CT-9": "missing_image"}


def test_bhx(tmp_path: Path) -> None:
    """Boxes are clipped to the image, counted once, never executed, and joined to CQ500 by image."""
    boxes = read_data(layouts.bhx(tmp_path / "bhx"))
    study = next(case for case in boxes.cases if case.name == "1.2")
    assert [(box.kind, box.x, box.width, box.by_hand) for box in study.boxes] == [
        ("SDH", 500.0, 12.0, True),
        ("EDH", 500.0, 12.0, False),
    ]
    assert list(faults(boxes).values()) == ["bad_box"]
    joined = bhx.join(boxes, cq500.read(layouts.cq500(tmp_path / "cq500")))
    assert [(case.name, len(case.boxes)) for case in joined.cases] == [("CQ500-CT-7", 2)]
    assert faults(joined)["9.1"] == "missing_image"


def test_rsna2019(tmp_path: Path) -> None:
    """Slices of a study are sorted along the normal; the broken image is left out, a missing one named."""
    data = read_data(layouts.rsna2019(tmp_path))
    (case,) = data.cases
    assert [path.stem for path in case.dicom] == ["ID_c3", "ID_b2", "ID_a1"]
    assert case.subtypes == frozenset({"SDH"})
    assert [sorted(one.subtypes) for one in case.slices] == [[], [], ["SDH"]]
    assert case.patient == "rsna-2019:ID_aa"
    assert faults(data) == {"ID_gone": "missing_image"}


def test_plain_folder(tmp_path: Path) -> None:
    """NIfTI pairs and DICOM folders side by side; scans of one patient share its key."""
    data = read_data(layouts.plain(tmp_path))
    assert [case.name for case in data.cases] == ["p1__a", "p1__b", "study"]
    assert len({case.patient for case in data.cases}) == 2
    assert faults(data) == {"stray": "missing_image"}


def test_what_is_no_data_set_is_said(tmp_path: Path) -> None:
    """An empty folder, no folder, an unknown reader, the wrong reader, a table without its columns."""
    for arguments in ({}, {"name": "brats"}, {"name": "bhsd"}):
        with pytest.raises(BadDataSet):
            read_data(tmp_path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(BadDataSet, match="no folder"):
        read_data(tmp_path / "nowhere")
    layouts.rsna2019(tmp_path / "rsna")
    (tmp_path / "rsna" / "stage_2_train.csv").write_text("ID,Any\n")
    with pytest.raises(BadDataSet, match="'Label'"):
        read_data(tmp_path / "rsna")


def test_overlaps_are_refused_unless_asked_for(tmp_path: Path) -> None:
    """One patient in two sets, or two sets of one origin; sets of different origins pass."""
    one, two = read_data(layouts.bhsd(tmp_path / "bhsd")), read_data(layouts.mbh_seg(tmp_path / "mbh"))
    with pytest.raises(DataOverlap, match="1 patients"):
        refuse_overlaps([one, two])
    assert len(refuse_overlaps([one, two], allowed=True)) == 1
    seg, boxes = read_data(layouts.seg_cq500(tmp_path / "seg")), read_data(layouts.bhx(tmp_path / "bhx"))
    with pytest.raises(DataOverlap, match="cq500"):
        refuse_overlaps([seg, boxes])
    assert refuse_overlaps([one, seg, read_data(layouts.physionet(tmp_path / "physionet"))]) == ()


def test_a_model_inherits_the_narrowest_terms(tmp_path: Path) -> None:
    """One set without commercial use forbids it for all; contradictions stay open."""
    physionet, bhsd = read_data(layouts.physionet(tmp_path / "a")), read_data(layouts.bhsd(tmp_path / "b"))
    seg = read_data(layouts.seg_cq500(tmp_path / "c"))
    assert inherited([physionet.licence]).commercial is True
    assert inherited([physionet.licence, bhsd.licence]).commercial is None
    together = inherited([physionet.licence, bhsd.licence, seg.licence])
    assert together.commercial is False
    assert "CC BY-NC-SA" in together.terms


def test_phantoms_have_two_truths(tmp_path: Path) -> None:
    """A folder of phantoms is read by its four classes, or by five subtypes where that is asked for by name."""
    for name in ("one", "old"):
        write_phantom(tmp_path / name, PhantomPlan(rows=32, columns=32, pixel_spacing_mm=7, slice_thickness_mm=20))
    (tmp_path / "old" / "subtypes.nii.gz").unlink()
    four, five = read_data(tmp_path), read_data(tmp_path, name="phantom-subtypes")
    assert (four.label_map, five.label_map) == (FOUR_CLASS, FIVE_SUBTYPE)
    assert (len(four.cases), [case.name for case in five.cases]) == (2, ["one"])
    assert five.cases[0].masks.mask == tmp_path / "one" / "subtypes.nii.gz"
    assert set(faults(five)) == {"old"}
    with pytest.raises(DataOverlap):
        refuse_overlaps((four, five), allowed=False)
