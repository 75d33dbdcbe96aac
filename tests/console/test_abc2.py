"""`ichor benchmark abc2`: both measures of one bleed, by hand, and the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from console.benchmark.abc2 import measure_both
from console.cli.entry import run


def test_a_ball_by_hand() -> None:
    """A ball of 2 cm radius has 33.5 mL; A = B = 40 mm, and the weights leave C 25 to 30 mm: 20 to 24 mL."""
    z, y, x = np.mgrid[-14:15, -14:15, -14:15] * 2.0
    share = np.clip(0.5 + (20.0 - np.sqrt(x**2 + y**2 + z**2)) / 2.0, 0.0, 1.0).astype(np.float32)
    pair = measure_both(share)
    assert pair is not None
    assert pair.voxel_ml == pytest.approx(4 / 3 * np.pi * 8.0, rel=0.03)
    assert 20.0 * 0.97 <= pair.abc2_ml <= 24.0 * 1.03


def test_two_components_have_no_abc2() -> None:
    """Bleeds that fall apart are left out, as in a result."""
    share = np.zeros((12, 40, 12), dtype=np.float32)
    share[2:10, 2:10, 2:10] = share[2:10, 30:38, 2:10] = 1.0
    assert measure_both(share) is None


def test_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Three groups, each with both means, their ratio and the median difference."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path))
    assert run(["benchmark", "abc2", "--heads", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [figure["unit"] for figure in figures] == ["mL", "mL", "%"] * 3
    means = [figure["value"] for figure in figures if figure["what"].endswith("voxels, mean")]
    assert 1.0 < means[0] < 5.0 < means[1] < 25.0 < means[2] < 80.0
    assert all(0.5 < figure["ratio"] < 2.0 for figure in figures if figure["ratio"] is not None)
