"""What the engine's benchmark paints and compares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from console.benchmark.engine import agreement, painted
from console.benchmark.memory import PeakMemory
from models.registry import SHIPPED_SPECS
from models.segmenter import HeadGrid
from models.spec import load_spec

SPEC = load_spec(SHIPPED_SPECS / "blast-ct-v1.json")


def test_agreement_counts_blood_together_and_classes_apart() -> None:
    """Blood of another kind is still blood for the Dice; oedema is not; every class counts for the volumes."""
    first = np.zeros((1, 2, 10), dtype=np.uint8)
    first[0, 0, :4] = 1
    first[0, 1, :4] = 3
    second = first.copy()
    second[0, 0, 3] = 2  # another kind
    second[0, 0, 4] = 1  # one more
    found = agreement(first, second, SPEC, voxel_ml=0.5)
    assert found.dice == pytest.approx(2 * 4 / 9)
    assert found.largest_difference_ml == 0.5
    nothing = np.zeros_like(first)
    assert agreement(nothing, nothing, SPEC, voxel_ml=0.5).dice == 1.0


def test_the_painted_bleed_has_its_volume() -> None:
    """15 mL of 68 HU, and nothing else is touched."""
    hu = np.full((90, 120, 120), 35.0, dtype=np.float32)
    clean = HeadGrid(hu_zyx=hu, spacing_zyx_mm=(1.0, 1.0, 1.0), scanned_zyx=np.ones(hu.shape, dtype=bool))
    bled = painted(clean)
    changed = bled.hu_zyx != clean.hu_zyx
    assert changed.sum() / 1000 == pytest.approx(15.0, rel=0.02)
    assert bled.hu_zyx[changed].mean() == pytest.approx(68.0, abs=0.5)
    assert replace(bled, hu_zyx=clean.hu_zyx).spacing_zyx_mm == clean.spacing_zyx_mm


def test_peak_memory_sees_a_large_block() -> None:
    """200 MB that are held for a moment are in the peak."""
    with PeakMemory() as before:
        pass
    with PeakMemory() as during:
        block = np.ones(25_000_000)
        assert block[-1] == 1
        while during.peak_bytes < before.peak_bytes + 150_000_000:
            block += 1
