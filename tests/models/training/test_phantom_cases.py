from __future__ import annotations

import numpy as np
import pytest

from models.phantoms.truth import LABELS
from models.segmenter import OUTSIDE_HU
from models.training.phantom_cases import SPACING_ZYX_MM, Case, make_case


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """A few cases, some with lesions."""
    return [make_case(seed) for seed in range(3, 7)]


def test_a_seed_is_one_case(cases: list[Case]) -> None:
    """The same seed gives the same case: anatomy, lesions, noise."""
    again = make_case(cases[0].seed)
    assert np.array_equal(again.hu_zyx, cases[0].hu_zyx)
    assert np.array_equal(again.labels_zyx, cases[0].labels_zyx)
    assert again.lesions == cases[0].lesions


def test_labels_are_where_blood_is(cases: list[Case]) -> None:
    """Labelled blood is brighter than brain, oedema darker, and nothing is labelled outside the scan."""
    for case in cases:
        hu = case.hu_zyx.astype(np.float32)
        assert not case.labels_zyx[hu == OUTSIDE_HU].any()
        blood = np.isin(case.labels_zyx, [LABELS["IPH"], LABELS["EAH"], LABELS["IVH"]])
        if blood.sum() > 100:
            assert 40 < float(np.median(hu[blood])) < 85
        if (case.labels_zyx == LABELS["oedema"]).sum() > 100:
            assert float(np.median(hu[case.labels_zyx == LABELS["oedema"]])) < 30


def test_labelled_volume_is_the_one_drawn(cases: list[Case]) -> None:
    """Blood well inside the scan has the volume that was drawn, all kinds together, within a tenth."""
    voxel_ml = float(np.prod(SPACING_ZYX_MM)) / 1000
    for case in cases:
        drawn = sum(lesion.volume_ml for lesion in case.lesions)
        if drawn < 5:
            continue
        labelled = np.isin(case.labels_zyx, [LABELS["IPH"], LABELS["EAH"], LABELS["IVH"]]).sum() * voxel_ml
        assert labelled == pytest.approx(drawn, rel=0.1)
