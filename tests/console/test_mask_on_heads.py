"""The mask that spares work takes no blood away: on phantoms by their truth, on real heads by what the network marks.

Of the real heads a slab of 30 mm with a bleed stands here; `make test-heads` takes all of them whole.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from console.benchmark.engine import head_grid, painted
from console.benchmark.marked import phantom_labels, read_series
from models.phantoms import PhantomPlan, write_phantom
from models.phantoms.lesions import parse_lesion
from models.registry import SHIPPED_SPECS, Registry
from models.segmenter import HeadGrid
from models.spec import load_spec
from models.tissue import intracranial_tissue
from worker.grid import resample

SPEC = load_spec(SHIPPED_SPECS / "blast-ct-v1.json")
BLOOD = [label.index for label in SPEC.haemorrhage_labels]
WHOLE = os.environ.get("WHOLE_HEADS") == "1"
HEADS = [(head, bleed) for head in ("ge-hispeed-tilt", "philips-ingenuity/axial-5mm") for bleed in (True, False)]
SLAB_MM = slice(60, 90)
COARSE = PhantomPlan(rows=160, columns=160, pixel_spacing_mm=1.5)
EVERY_KIND = tuple(map(parse_lesion, ("iph:20", "sdh:40:left", "edh:25:right", "sah:15", "ivh:10")))


@pytest.mark.parametrize(
    "plan",
    [
        replace(COARSE, lesions=EVERY_KIND, seed=3),
        replace(COARSE, lesions=EVERY_KIND, seed=4, tilt_deg=24.0, table=True),
        replace(COARSE, lesions=EVERY_KIND, seed=5, tilt_deg=-20.0, noise_hu=9.0),
        replace(COARSE, lesions=EVERY_KIND[:3], seed=6, lowest_mm=20.0, slices=8),
        replace(COARSE, lesions=EVERY_KIND, seed=7, slice_thickness_mm=2.0, gaps_mm=(4.0,) * 13 + (7.0,) * 13),
    ],
    ids=["flat", "tilted on a table", "tilted back and noisy", "vertex only", "uneven gaps"],
)
def test_no_blood_of_a_phantom_is_left_out(plan: PhantomPlan, tmp_path: Path) -> None:
    """Every grid point that the truth calls blood lies where the engine looks."""
    write_phantom(tmp_path, plan)
    _, volume = read_series([tmp_path / "dicom"])
    blood = np.isin(phantom_labels(tmp_path), BLOOD)
    assert blood.any()
    grid = resample(volume, SPEC.spacing_zyx_mm).grid
    truth = resample(replace(volume, hu_kji=blood.astype(np.int16) * 1000), SPEC.spacing_zyx_mm).grid.hu_zyx > 500
    assert truth.any()
    assert not (truth & ~intracranial_tissue(grid)).any()


@pytest.mark.slow
@pytest.mark.parametrize(("head", "bleed"), HEADS if WHOLE else HEADS[:1])
def test_the_mask_changes_no_haemorrhage_voxel(head: str, bleed: bool, test_data_dir: Path, weights_dir: Path) -> None:  # noqa: FBT001
    """A member marks the same voxels as blood whether it looks everywhere or only where the mask lets it."""
    grid = head_grid(SPEC, test_data_dir / head)
    grid = painted(grid) if bleed else grid
    mask = intracranial_tissue(grid)
    if not WHOLE:
        grid, mask = _slab(grid), mask[SLAB_MM]
    segmenter = Registry(weights_dir).load(SPEC.name, members=(1,), device="cpu")
    everywhere = segmenter.segment_where(grid, np.ones(mask.shape, dtype=np.bool_))  # type: ignore[attr-defined]
    masked = segmenter.segment_where(grid, mask)  # type: ignore[attr-defined]
    marked = [np.isin(one.member_labels_mzyx[0], BLOOD) for one in (everywhere, masked)]
    assert np.array_equal(marked[0], marked[1])
    if bleed and head.startswith("ge"):
        assert marked[0].any()


def _slab(grid: HeadGrid) -> HeadGrid:
    return replace(grid, hu_zyx=grid.hu_zyx[SLAB_MM], scanned_zyx=grid.scanned_zyx[SLAB_MM])
