from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from models.training.data import physionet
from models.training.data.case import Case
from models.training.data.split import SHIPPED, SplitInvalid, load_split, make_split, parts_of, share_of


def test_shipped_split_is_the_rules() -> None:
    """75 patients in five folds, sealed; anybody can make the same file without the data."""
    split = load_split(SHIPPED / "physionet-ct-ich.json")
    assert split == make_split(physionet.NAME, [f"{physionet.ORIGIN}:{one}" for one in physionet.PATIENTS])
    assert sum(len(fold) for fold in split.folds) == 75
    assert {len(fold) for fold in split.folds} == {15}


def test_folds_are_those_of_the_published_rule() -> None:
    """Sorted by hash (f g a d e b c, by sha256sum) and dealt out in turn; the order given is of no matter."""
    dealt = [("b", "f"), ("c", "g"), ("a",), ("d",), ("e",)]
    assert list(make_split("x", "gfedcba").folds) == dealt


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """Moving one patient breaks the seal; a patient in two folds is no split."""
    split = make_split("a", [f"p{number}" for number in range(20)])
    path = tmp_path / "a.json"
    path.write_text(split.to_json())
    assert load_split(path) == split
    stated = json.loads(path.read_text())
    stated["folds"][1].append(stated["folds"][0].pop())
    path.write_text(json.dumps(stated))
    with pytest.raises(SplitInvalid, match="SHA-256"):
        load_split(path)
    stated["folds"][0].append(stated["folds"][1][0])
    path.write_text(json.dumps(stated))
    with pytest.raises(SplitInvalid, match="two places"):
        load_split(path)


def test_a_patient_is_never_divided() -> None:
    """All scans of a patient lie on one side; one that the split does not know is not put anywhere."""
    cases = [Case(name=f"{patient}-{scan}", patient=patient) for patient in ("a", "b", "c", "d") for scan in (1, 2)]
    split = make_split("x", (case.patient for case in cases))
    for fold in range(5):
        train, held_out = parts_of(cases, split, fold)
        assert len(train) + len(held_out) == len(cases)
        assert not {case.patient for case in train} & {case.patient for case in held_out}
    with pytest.raises(SplitInvalid, match="does not list"):
        parts_of([Case(name="e", patient="e")], split, 0)
    with pytest.raises(SplitInvalid, match="folds 0 to 4"):
        parts_of(cases, split, 5)


def test_shares_lie_within_each_other() -> None:
    """A learning curve's smaller share is part of the next, by patient: two scans of one stand or fall together."""
    cases = [Case(name=f"{patient}-{scan}", patient=f"p{patient}") for patient in range(40) for scan in (1, 2)]
    shares = [{case.name for case in share_of(cases, fraction)} for fraction in (0.01, 0.05, 0.1, 0.25, 1)]
    assert [len(share) for share in shares] == [2, 4, 8, 20, 80]
    assert all(small < large for small, large in pairwise(shares))
    assert {case.name for case in share_of(reversed(cases), 0.25)} == shares[3]
