from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.confusion import add_confusions, confusion_of, finest
from models.evaluation.label_map import (
    BINARY,
    FIVE_SUBTYPE,
    FOUR_CLASS,
    BadLabelMap,
    compared_classes,
    parse_label_map,
    unlike_subtypes,
)
from tests.models.evaluation.masks import grid_of


def test_five_subtypes_meet_four_classes_on_extra_axial_blood() -> None:
    """EDH, SAH and SDH of the truth are together the answer's EAH; oedema is on neither side of anything."""
    classes = {one.name: one for one in compared_classes(FIVE_SUBTYPE, FOUR_CLASS)}
    assert list(classes) == ["any", "IPH", "IVH", "EAH"]
    assert classes["EAH"].truth_values == {1, 4, 5}
    assert classes["EAH"].answer_values == {2}
    assert classes["any"].answer_values == {1, 2, 4}
    assert not any(3 in one.answer_values for one in classes.values())


def test_binary_masks_compare_on_any() -> None:
    """0/1 and 0/255 are one kind; against subtypes only "any" is left."""
    (only,) = compared_classes(BINARY, FIVE_SUBTYPE)
    assert (only.name, only.truth_values, only.answer_values) == (
        "any",
        frozenset({1, 255}),
        frozenset({1, 2, 3, 4, 5}),
    )


def test_masks_of_part_of_the_subtypes_are_told() -> None:
    """A truth without SAH, SDH and EDH makes "any" an unlike thing, which is said."""
    hemseg = parse_label_map("1=IPH,2=IVH")
    assert [one.name for one in compared_classes(hemseg, FOUR_CLASS)] == ["any", "IPH", "IVH"]
    assert unlike_subtypes(hemseg, FOUR_CLASS) == {"SAH", "SDH", "EDH"}


@pytest.mark.parametrize("text", ["six-class", "1:IPH", "0=IPH", "1=IPH,1=IVH", "1=glioma"])
def test_nonsense_is_refused(text: str) -> None:
    """Every fault is one sentence."""
    with pytest.raises(BadLabelMap):
        parse_label_map(text)


def test_nothing_in_common_is_refused() -> None:
    """A truth of oedema only cannot be compared."""
    with pytest.raises(BadLabelMap):
        compared_classes(parse_label_map("1=oedema"), BINARY)


def test_confusion_by_hand() -> None:
    """Rows are true, columns said; empty voxels that stayed empty are not counted; oedema is none."""
    truth = np.array([1, 1, 2, 3, 0, 0, 4]).reshape(7, 1, 1)  # EDH EDH IPH IVH - - SAH
    answer = np.array([2, 1, 1, 4, 3, 2, 2]).reshape(7, 1, 1)  # EAH IPH IPH IVH oedema EAH EAH
    classes = compared_classes(FIVE_SUBTYPE, FOUR_CLASS)
    assert [one.name for one in finest(classes)] == ["IPH", "IVH", "EAH"]
    found = confusion_of(answer, truth, classes, grid=grid_of((7, 1, 1), (1.0, 1.0, 500.0)))
    assert list(found.classes) == ["none", "IPH", "IVH", "EAH"]
    assert np.array_equal(found.millilitres, ((0, 0, 0, 0.5), (0, 0.5, 0, 0), (0, 0, 0.5, 0), (0, 0.5, 0, 1.0)))
    assert found.recall("EAH") == pytest.approx(2 / 3)
    twice = add_confusions([found, found])
    assert twice is not None
    assert np.array_equal(twice.millilitres[3], (0, 1.0, 0, 2.0))
