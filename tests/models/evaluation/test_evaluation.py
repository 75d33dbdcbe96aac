"""Folders of masks in, an evaluation out: pairing, faults, label maps, sums."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.comparison import NotComparable, compare, holm
from models.evaluation.evaluation import (
    BadEvaluation,
    Evaluation,
    NothingToEvaluate,
    Question,
    evaluate,
    load_evaluation,
)
from models.evaluation.label_map import FIVE_SUBTYPE, FOUR_CLASS
from models.evaluation.mask_file import BadMask, read_mask
from models.evaluation.pairing import find_masks, pair_masks
from tests.models.evaluation.mask_files import AFFINE, labels, write_nifti

QUESTION = Question(system="b", data="truth")
BOX_ML = 4 * 10 * 4 * 0.5 * 0.5 * 5 / 1000


def evaluated(folder: Path, question: Question = QUESTION, answers: str = "b") -> Evaluation:
    return evaluate(pair_masks(folder / "truth", folder / answers), question)


def test_figures_of_a_small_set(tmp_path: Path) -> None:
    """One found, one missed, one false mark and one rightly empty, added up by hand."""
    for name, truth, answer in (
        ("found", labels((2, 1)), labels((4, 1))),
        ("missed", labels((2, 255)), labels()),
        ("false", labels(), labels((2, 1))),
        ("empty", labels(), labels()),
    ):
        write_nifti(tmp_path / "truth" / f"{name}.nii.gz", truth)
        write_nifti(tmp_path / "b" / f"{name}.nii", answer)
    result = evaluated(tmp_path)
    (blood,) = result.summary.classes
    assert (blood.scans, blood.positives) == (4, 2)
    assert blood.dice_positives == pytest.approx(0.25)
    assert blood.dice_all == pytest.approx((0.5 + 0 + 0 + 1) / 4)
    assert blood.dice_none_left_out == pytest.approx(0.5 / 3)
    assert blood.dice_pooled == pytest.approx(2 * 80 / (4 * 160))
    assert (blood.hd.scans, blood.hd.infinite, blood.hd.mean_mm) == (3, 2, math.inf)
    assert blood.hd.mean_finite_mm == pytest.approx(1.0)  # moved by two voxels of 0.5 mm
    assert blood.error_by_size[0].scans == 2
    assert blood.error_by_size[0].mean_ml == pytest.approx(BOX_ML / 2)
    assert result.summary.auc is not None
    assert result.summary.auc.value == pytest.approx(0.5)  # marked, unmarked against marked, unmarked
    assert result.summary.lesions_by_size[0].lesions == 2
    assert result.summary.lesions_by_size[0].sensitivity == 0.5
    assert result.summary.alarms.false_ml_mean == pytest.approx(BOX_ML / 2)
    assert result.summary.calibration is None


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    """Infinite distances and figures that do not exist survive."""
    write_nifti(tmp_path / "truth" / "a.nii.gz", labels((2, 1)))
    write_nifti(tmp_path / "b" / "a.nii.gz", labels())
    result = evaluated(tmp_path)
    file = tmp_path / "b.json"
    file.write_text(result.to_json())
    assert load_evaluation(file) == result
    assert math.inf in {one.hd_mm for one in load_evaluation(file).scans[0].classes}
    file.write_text("{}")
    with pytest.raises(BadEvaluation):
        load_evaluation(file)


def test_what_cannot_be_scored_is_named(tmp_path: Path) -> None:
    """Missing masks, other shapes and places, unknown values, broken files: named, and the rest is scored."""
    good = labels((2, 1))
    for name in ("fine", "no-answer", "other-shape", "moved", "broken", "unknown-value", "halves"):
        write_nifti(tmp_path / "truth" / f"{name}.nii.gz", good)
        write_nifti(tmp_path / "b" / f"{name}.nii.gz", good)
    (tmp_path / "b" / "no-answer.nii.gz").unlink()
    (tmp_path / "truth" / "no-truth.nii.gz").unlink(missing_ok=True)
    write_nifti(tmp_path / "b" / "no-truth.nii.gz", good)
    write_nifti(tmp_path / "b" / "other-shape.nii.gz", labels((2, 1), shape=(24, 20, 7)))
    moved = AFFINE.copy()
    moved[0, 3] = 12
    write_nifti(tmp_path / "b" / "moved.nii.gz", good, moved)
    (tmp_path / "b" / "broken.nii.gz").write_bytes(b"no gzip")
    write_nifti(tmp_path / "b" / "unknown-value.nii.gz", labels((2, 7)))
    write_nifti(tmp_path / "b" / "halves.nii.gz", good.astype(np.float32) / 2)
    result = evaluated(tmp_path)
    assert [scan.name for scan in result.scans] == ["fine"]
    faults = {fault.name: fault for fault in result.faults}
    assert set(faults) == {"no-answer", "no-truth", "other-shape", "moved", "broken", "unknown-value", "halves"}
    assert (faults["no-answer"].code, faults["no-truth"].code) == ("missing_answer", "missing_truth")
    assert "(24, 20, 7)" in faults["other-shape"].text
    assert "affine" in faults["moved"].text
    assert "7" in faults["unknown-value"].text
    assert all(fault.name in fault.text for fault in result.faults)


def test_a_tilted_scan_is_scored_and_told(tmp_path: Path) -> None:
    """A shear in the affine is measured as it is; what is not defined there is left out."""
    tilted = AFFINE.copy()
    tilted[1, 2] = 1.5
    write_nifti(tmp_path / "truth" / "a.nii.gz", labels((2, 1)), tilted)
    write_nifti(tmp_path / "b" / "a.nii.gz", labels((2, 1)), tilted)
    result = evaluated(tmp_path)
    assert result.scans[0].sheared
    assert result.scans[0].any.truth_ml == pytest.approx(BOX_ML)
    assert (result.scans[0].any.hd_mm, result.scans[0].any.nsd) == (0.0, None)
    assert "tilted" in result.notes[0]


def test_five_subtypes_against_four_classes(tmp_path: Path) -> None:
    """SDH and EDH of the truth meet the answer's EAH, and oedema is no blood."""
    write_nifti(tmp_path / "truth" / "a.nii.gz", labels((0, 5), (6, 1), (12, 2)))
    write_nifti(tmp_path / "b" / "a.nii.gz", labels((0, 2), (6, 2), (12, 1), (18, 3)))
    result = evaluated(tmp_path, replace(QUESTION, truth_map=FIVE_SUBTYPE, answer_map=FOUR_CLASS))
    dice = {one.name: one.dice for one in result.scans[0].classes}
    assert dice == {"any": 1.0, "IPH": 1.0, "IVH": None, "EAH": 1.0}
    assert result.scans[0].mean_iou == 1.0


def test_several_raters_in_a_folder_of_their_own(tmp_path: Path) -> None:
    """MBH-Seg's layout: the raters' majority is the truth, images are no masks, raters have their own figures."""
    case = tmp_path / "truth" / "ID_1_ID_2"
    for number, first in enumerate((2, 2, 4), start=1):
        write_nifti(case / f"label_annot_{number}.nii.gz", labels((first, 5)))
    write_nifti(case / "image.nii.gz", labels().astype(np.int16))
    write_nifti(tmp_path / "b" / "ID_1_ID_2.nii.gz", labels((2, 5)))
    result = evaluated(tmp_path, replace(QUESTION, truth_map=FIVE_SUBTYPE, answer_map=FIVE_SUBTYPE))
    assert result.faults == ()
    assert result.scans[0].any.dice == 1.0
    raters = result.scans[0].raters
    assert raters is not None
    assert raters.dice_per_rater == pytest.approx((1.0, 1.0, 0.5))
    assert raters.ceiling == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert result.summary.raters is not None


def test_stated_probabilities_rank_exams(tmp_path: Path) -> None:
    """A system that says how sure it is, in a JSON file beside its mask, is ranked and calibrated by that."""
    for name, truth, probability in (("a", labels((2, 1)), 0.9), ("b", labels(), 0.2), ("c", labels(), 0.95)):
        write_nifti(tmp_path / "truth" / f"{name}.nii.gz", truth)
        write_nifti(tmp_path / "b" / f"{name}.nii.gz", labels((2, 1)))
        (tmp_path / "b" / f"{name}.json").write_text(f'{{"probability": {probability}, "seconds": 2}}')
    result = evaluated(tmp_path)
    assert result.summary.auc is not None
    assert result.summary.auc.value == 0.5
    assert result.summary.calibration is not None
    assert result.summary.seconds_median == 2
    (tmp_path / "b" / "a.json").write_text('{"probability": 7}')
    assert [fault.name for fault in evaluated(tmp_path).faults] == ["a"]


def test_nothing_marked_is_an_answer_and_not_analysed_is_none(tmp_path: Path) -> None:
    """`ichor process` writes no segmentation where nothing was marked: a right negative must not be left out."""
    for name, status, conclusion in (
        ("clear", "analysed", "none_marked"),
        ("missed", "analysed", "none_marked"),
        ("refused", "not_analysed", None),
    ):
        write_nifti(tmp_path / "truth" / name / "truth.nii.gz", labels((2, 1)) if name == "missed" else labels())
        place = tmp_path / "b" / name
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps({"status": status, "conclusion": conclusion, "findings": []}))
    result = evaluated(tmp_path)
    assert {scan.name: scan.any.dice for scan in result.scans} == {"clear": None, "missed": 0.0}
    assert [(fault.name, fault.code) for fault in result.faults] == [("refused", "missing_answer")]


def test_nothing_to_score_is_an_error(tmp_path: Path) -> None:
    """Empty folders, folders that are none, two masks of one name."""
    (tmp_path / "truth").mkdir()
    with pytest.raises(BadMask, match="no folder"):
        evaluated(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(NothingToEvaluate):
        evaluated(tmp_path)
    write_nifti(tmp_path / "truth" / "a.nii", labels())
    write_nifti(tmp_path / "truth" / "a.nii.gz", labels())
    with pytest.raises(BadMask, match="both the mask"):
        find_masks(tmp_path / "truth")


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2, 2)])
def test_masks_have_three_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """A trailing axis of one is forgiven, others are not."""
    path = write_nifti(tmp_path / "a.nii", np.zeros(shape, dtype=np.uint8))
    if shape == (4, 4):  # nibabel gives NIfTI images of two axes as they are
        with pytest.raises(BadMask, match="2 axes"):
            read_mask(path)
        return
    with pytest.raises(BadMask, match="4 axes"):
        read_mask(path)


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, never falling."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx((0.06, 0.04, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_comparison_of_two_systems(tmp_path: Path) -> None:
    """Six scans in which B is always better: the smallest p that six pairs can have, and no scan left out silently."""
    for number in range(6):
        write_nifti(tmp_path / "truth" / f"{number}.nii.gz", labels((8, 1)))
        write_nifti(tmp_path / "a" / f"{number}.nii.gz", labels((10 + number % 2, 1)))
        write_nifti(tmp_path / "b" / f"{number}.nii.gz", labels((8 + (number == 1), 1)))
    a, b = evaluated(tmp_path, replace(QUESTION, system="a"), "a"), evaluated(tmp_path)
    found = compare(a, replace(b, scans=b.scans[:6]))
    dice = next(test for test in found.tests if test.figure == "any: dice")
    assert dice.p == pytest.approx(2 / 64)
    assert dice.p_holm >= dice.p
    assert dice.median_difference is not None
    assert dice.median_difference > 0
    assert compare(a, replace(b, scans=b.scans[:4])).only_a == ("4", "5")
    with pytest.raises(NotComparable, match="no scan"):
        compare(replace(a, scans=a.scans[:1]), replace(b, scans=b.scans[1:]))


def test_other_truths_are_not_compared(tmp_path: Path) -> None:
    """Scores against different truths are no comparison."""
    write_nifti(tmp_path / "truth" / "a.nii.gz", labels((2, 1)))
    write_nifti(tmp_path / "b" / "a.nii.gz", labels((2, 1)))
    one = evaluated(tmp_path)
    write_nifti(tmp_path / "truth" / "a.nii.gz", labels((2, 1), (8, 1)))
    with pytest.raises(NotComparable, match="different truths"):
        compare(one, evaluated(tmp_path))
