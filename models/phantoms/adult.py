"""One adult's measures and densities, drawn from a seed round ordinary values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.phantoms.lattice import Pose

STREAM_ANATOMY, STREAM_TEXTURE, STREAM_LESION, STREAM_NOISE = 1, 2, 3, 4
"""Separate random streams of one seed, so that a change of the noise moves no lesion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adult:
    """Measures in mm, densities in HU. The cavity is what the inner table encloses."""

    seed: int
    cavity_half_width_mm: float
    cavity_half_length_mm: float
    cavity_height_mm: float
    narrowing: float  # how much narrower the forehead is than the back of the head
    skull_mm: float
    scalp_mm: float
    subarachnoid_mm: float
    sulcus_mm: float  # half a sulcus's width at the surface
    ventricle_mm: float  # added to every radius of the ventricles
    ventricle_left_mm: float  # more on the left, as most people have it
    white_hu: float
    grey_hu: float
    csf_hu: float
    venous_hu: float
    table_hu: float
    diploe_hu: float
    choroid_hu: float
    pineal_hu: float
    falx_calcified: bool
    pose: Pose

    def key(self, stream: int, *more: int) -> tuple[int, ...]:
        """Return the seed of one random stream."""
        return (self.seed, stream, *more)


def draw_adult(seed: int) -> Adult:
    """Draw an adult; the same seed gives the same one."""
    random = np.random.default_rng((seed, STREAM_ANATOMY))

    def about(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(random.standard_normal(), -2, 2))

    return Adult(
        seed=seed,
        cavity_half_width_mm=about(66.5, 1.8),
        cavity_half_length_mm=about(83.0, 2.0),
        cavity_height_mm=about(69.0, 1.8),
        narrowing=about(0.10, 0.015),
        skull_mm=about(6.5, 0.6),
        scalp_mm=about(6.0, 0.7),
        subarachnoid_mm=about(1.6, 0.3),
        sulcus_mm=about(0.9, 0.15),
        ventricle_mm=about(0.0, 0.6),
        ventricle_left_mm=about(0.6, 0.2),
        white_hu=about(28.5, 0.7),
        grey_hu=about(37.5, 0.7),
        csf_hu=about(8.0, 0.8),
        venous_hu=about(46.0, 1.5),
        table_hu=about(1350.0, 80.0),
        diploe_hu=about(650.0, 60.0),
        choroid_hu=about(120.0, 20.0),
        pineal_hu=about(150.0, 25.0),
        falx_calcified=bool(random.random() < 0.3),
        pose=Pose.turned(
            yaw_deg=about(0.0, 1.2),
            roll_deg=about(0.0, 1.0),
            pitch_deg=about(0.0, 1.5),
            shift_lps_mm=(about(0.0, 1.0), about(0.0, 1.0), about(0.0, 1.0)),
        ),
    )
