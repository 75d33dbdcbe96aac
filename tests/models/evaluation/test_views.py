"""Looks at mirror images, and cleaned labels: each rule on cases worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from ichor.errors import ModelError
from models.evaluation.cleaning import claim, tenth
from models.evaluation.views import Mirrored, TinyLesions
from models.segmenter import HeadGrid, Plan, Segmentation
from models.spec import ModelSpec
from models.training.recipe import TrainingRecipe
from models.training.spec import spec_of
from models.vocabulary import label_named
from tests.models.training.small_heads import recipe_of


@dataclass
class OneSided:
    """A model that sees bright voxels on the patient's right alone, the first half of x."""

    spec: ModelSpec = field(default_factory=lambda: spec_of(recipe_of(TrainingRecipe())))
    device: str = "cpu"
    looks: int = 0

    @property
    def plan(self) -> Plan:
        """Return any."""
        return Plan(model="x", model_digest="x", members=(1,), precision="float32", engine="x")

    def warm(self) -> None:
        """Do nothing."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Mark what is bright."""
        del on_progress
        self.looks += 1
        blood = np.where(grid.hu_zyx > 50, 0.8, 0.1).astype(np.float32)
        blood[..., grid.hu_zyx.shape[2] // 2 :] = 0.0
        return Segmentation(
            probabilities_czyx=np.stack([1 - blood, blood]),
            member_labels_mzyx=(blood > 0.5).astype(np.uint8)[None],
            voxel_ml=0.01,
            plan=self.plan,
            device="cpu",
            seconds_per_member=(0.0,),
        )


def head_with(*bright: tuple[slice | int, ...]) -> HeadGrid:
    hu = np.zeros((4, 8, 8), dtype=np.float32)
    for place in bright:
        hu[place] = 60
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=(1.0, 1.0, 1.0), scanned_zyx=np.ones(hu.shape, dtype=np.bool_))


def test_a_mirror_image_is_averaged() -> None:
    """The mean of both looks, each where it belongs."""
    said = Mirrored(OneSided()).segment(head_with((1, 2, 0), (1, 2, 7))).probabilities_czyx[1]
    assert said[1, 2, 0] == said[1, 2, 7] == pytest.approx(0.4)
    assert said[0, 0, 0] == pytest.approx(0.05)


def test_a_tiny_answer_is_looked_at_again() -> None:
    """Below 0.1 mL what any look marks is marked; from there on one look is enough."""
    model = OneSided()
    said = TinyLesions(model).segment(head_with((1, 2, 0), (1, 2, 7))).probabilities_czyx
    assert (said.argmax(axis=0) == 1).sum() == 2
    assert said[1, 1, 2, 7] == pytest.approx(0.8)
    assert model.looks == 4
    model = OneSided()
    large = TinyLesions(model).segment(head_with((1, slice(0, 4), slice(0, 3)), (1, 2, 7))).probabilities_czyx
    assert (large.argmax(axis=0) == 1).sum() == 12
    assert model.looks == 1


FIVE = tuple(label_named(name, index) for index, name in enumerate(("EDH", "IPH", "IVH", "SAH", "SDH"), start=1))


def labels_with(*parts: tuple[int, tuple[slice, ...]]) -> npt.NDArray[np.uint8]:
    labels = np.zeros((6, 20, 20), dtype=np.uint8)
    for value, place in parts:
        labels[place] = value
    return labels


def test_claim_by_hand() -> None:
    """A part that is mostly subdural becomes so; specks of SAH go, of IPH stay; exactly 25 voxels stay."""
    everywhere = slice(0, 1)
    labels = labels_with(
        (5, (everywhere, slice(0, 6), slice(0, 6))),
        (1, (everywhere, slice(6, 8), slice(0, 6))),
        (4, (everywhere, slice(12, 14), slice(0, 6))),
        (4, (everywhere, slice(15, 20), slice(15, 20))),
        (2, (everywhere, slice(0, 1), slice(18, 19))),
    )
    out = claim(labels, FIVE)
    assert {int(value): int((out == value).sum()) for value in np.unique(out)} == {
        0: 6 * 400 - 48 - 25 - 1,
        2: 1,
        4: 25,
        5: 48,
    }
    assert (labels == 1).sum() == 12  # the answer itself is left as it was
    with pytest.raises(ModelError, match="claim"):
        claim(labels, [label_named("ICH", 1)])


def test_a_tenth_by_hand() -> None:
    """Parts of blood below a tenth of the largest go, whatever their types; oedema stays, and so does nothing."""
    four = tuple(label_named(name, index) for index, name in enumerate(("IPH", "EAH", "oedema", "IVH"), start=1))
    labels = labels_with(
        (1, (slice(0, 1), slice(0, 6), slice(0, 5))),
        (4, (slice(0, 1), slice(6, 8), slice(0, 5))),
        (2, (slice(3, 4), slice(0, 1), slice(0, 4))),
        (2, (slice(3, 4), slice(10, 11), slice(0, 3))),
        (3, (slice(5, 6), slice(10, 11), slice(0, 3))),
    )
    out = tenth(labels, four)
    assert {int(value): int((out == value).sum()) for value in (1, 2, 3, 4)} == {1: 30, 2: 4, 3: 3, 4: 10}
    assert not tenth(np.zeros((2, 2, 2), dtype=np.uint8), four).any()
