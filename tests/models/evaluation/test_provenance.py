from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.evaluation.provenance import Provenance, leaks, unlike

ONE = Provenance(shown_voxels=1000, seeds=(1, 2, 3), members=3, data_sha256="a")


def test_alike() -> None:
    """The same scans, budget and seeds, met none of what is tested: nothing to say."""
    assert unlike(("A", "B"), (ONE, replace(ONE, seeds=(4, 5, 6)))) == ()
    assert leaks("A", ONE) == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"shown_voxels": 3000}, "3.0 times as many voxels"),
        ({"data_sha256": "b"}, "different scans"),
        ({"seeds": (1, 2)}, "B is of 2 seed(s), not 3"),
        ({"members": 1}, "3 member(s) answered for A, 1 for B"),
        ({"extras": ("mirror",)}, "extras"),
        ({"met": ("x", "y")}, "B knows 2 of these scans, such as x"),
        ({"related": ("rsna-2019",)}, "B was trained on rsna-2019"),
    ],
)
def test_each_difference_is_said_from_either_side(changed: dict[str, Any], said: str) -> None:
    """One sentence for what differs."""
    (text,) = unlike(("A", "B"), (ONE, replace(ONE, **changed)))
    assert said in text
    assert len(unlike(("A", "B"), (replace(ONE, **changed), ONE))) == 1


def test_what_is_not_known_is_said() -> None:
    """A folder of masks, a published model: nobody can tell."""
    assert unlike(("A", "B"), (ONE, None)) == ("How B was trained is not known.",)
    assert len(unlike(("A", "B"), (None, None))) == 2
