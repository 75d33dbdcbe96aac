from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.phantoms.lattice import Lattice
from models.phantoms.lesions import PhantomInvalid
from models.phantoms.plan import PhantomPlan
from models.phantoms.scan import Sampler, lay_slices, noise

if TYPE_CHECKING:
    from models.phantoms.plan import Sign

SMALL = {"rows": 48, "columns": 40, "pixel_spacing_mm": 2.0}


@pytest.mark.parametrize("row_sign", [1, -1])
@pytest.mark.parametrize("column_sign", [1, -1])
@pytest.mark.parametrize("tilt_deg", [0.0, 18.5, -12.0])
def test_every_voxel_shows_its_own_place(row_sign: Sign, column_sign: Sign, tilt_deg: float) -> None:
    """A field that is linear in patient coordinates is read back at every voxel centre, for every sign and tilt."""
    plan = PhantomPlan(
        rows=48, columns=40, pixel_spacing_mm=2.0, slices=4, slice_thickness_mm=5.0, lowest_mm=-8.0,
        tilt_deg=tilt_deg, row_sign=row_sign, column_sign=column_sign,
    )  # fmt: skip
    scan = lay_slices(plan)
    lattice = Lattice.spanning((-60.0, -70.0, -60.0), (60.0, 70.0, 60.0), (1.5, 1.0, 2.0))
    z, y, x = (lattice.axis_mm(axis) for axis in range(3))
    field = (1.0 * x[None, None, :] + 2.0 * y[None, :, None] - 3.0 * z[:, None, None]).astype(np.float32)
    sampler = Sampler(lattice, scan)
    j, i = (index.ravel() for index in np.mgrid[0:48, 0:40])
    for k in range(scan.slices):
        places = scan.places_lps_mm(k, j, i)
        expected = places @ np.array([1.0, 2.0, -3.0])
        assert np.allclose(sampler.slice_of(field, k).ravel(), expected, atol=1e-2)


def test_tilted_stack_is_sheared() -> None:
    """A tilted scan has the orientation (1,0,0,0,cos,-sin) and moves along z alone: as a GE gantry writes it."""
    scan = lay_slices(PhantomPlan(tilt_deg=18.5, slices=3, slice_thickness_mm=4.0, **SMALL))  # type: ignore[arg-type]
    assert scan.row_cosine == (1.0, 0.0, 0.0)
    assert scan.column_cosine == pytest.approx((0.0, 0.9483237, -0.3173047), abs=1e-6)
    first, second = np.array(scan.position_lps_mm(0)), np.array(scan.position_lps_mm(1))
    assert second - first == pytest.approx([0, 0, 4.0 / 0.9483237], abs=1e-5)
    assert float((second - first) @ np.array(scan.normal)) == pytest.approx(4.0)


def test_uneven_gaps() -> None:
    """Gaps are laid as given, foot to head, and each slice gets half of both its gaps."""
    scan = lay_slices(PhantomPlan(gaps_mm=(4.0, 4.0, 1.0, 7.0), lowest_mm=10.0))
    assert scan.centre_z_mm == pytest.approx((10, 14, 18, 19, 26))
    assert scan.shares_mm == pytest.approx((4, 4, 2.5, 4, 7))


def test_slices_cover_the_head() -> None:
    """Without a number of slices the scan goes from the foramen magnum over the vertex."""
    for plan in (PhantomPlan(), PhantomPlan(slice_thickness_mm=1.25), PhantomPlan(tilt_deg=15)):
        scan = lay_slices(plan)
        assert scan.centre_z_mm[0] == -70
        assert 84 <= scan.centre_z_mm[-1] < 110
    assert lay_slices(PhantomPlan()).slices == 32


def test_thick_slices_average() -> None:
    """A step in z shows its partial volume: a slice that it halves holds half of it."""
    lattice = Lattice.spanning((-50.0, -50.0, -20.0), (50.0, 50.0, 20.0), (0.5, 2.0, 2.0))
    field = np.zeros(lattice.shape_zyx, dtype=np.float32)
    field[lattice.axis_mm(0) > 0] = 100
    scan = lay_slices(PhantomPlan(slices=3, slice_thickness_mm=5.0, lowest_mm=-4.0, **SMALL))  # type: ignore[arg-type]
    values = [float(Sampler(lattice, scan).slice_of(field, k)[24, 20]) for k in range(3)]
    assert values == pytest.approx([0, 70, 100], abs=5)


def test_noise_is_seeded_and_has_its_strength() -> None:
    """Noise depends on seed and slice, has the strength asked for, and is smooth as a soft kernel makes it."""
    scan = lay_slices(PhantomPlan(slices=2))
    first = noise(scan, 0, seed=1, standard_deviation_hu=4.5)
    assert np.array_equal(first, noise(scan, 0, seed=1, standard_deviation_hu=4.5))
    assert not np.array_equal(first, noise(scan, 1, seed=1, standard_deviation_hu=4.5))
    assert float(first.std()) == pytest.approx(4.5, rel=1e-3)
    assert 0.3 < float(np.mean(first[:, 1:] * first[:, :-1])) / 4.5**2 < 0.95


@pytest.mark.parametrize(
    "wrong",
    [
        {"slice_thickness_mm": 0.0},
        {"tilt_deg": 45.0},
        {"rows": 4},
        {"slices": 0},
        {"gaps_mm": (5.0, -1.0)},
        {"gaps_mm": (5.0,), "slices": 3},
        {"seed": -1},
        {"noise_hu": float("nan")},
    ],
)
def test_impossible_plan_is_refused(wrong: dict[str, object]) -> None:
    """A plan that no scanner could run is refused."""
    with pytest.raises(PhantomInvalid):
        PhantomPlan(**wrong)  # type: ignore[arg-type]
