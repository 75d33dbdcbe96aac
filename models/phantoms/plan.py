"""What a phantom study shall be: the head's seed and lesions, and the geometry of the scan."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from models.phantoms.lesions import LesionRequest, PhantomInvalid
from models.phantoms.shift import USUAL, Shift

if TYPE_CHECKING:
    from datetime import datetime

Sign = Literal[1, -1]
PatientPosition = Literal["HFS", "HFP", "FFS", "FFP"]

MOST_SLICES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomPlan:
    """A phantom study. Distances between slices are along the plane normal; the table moves further when tilted."""

    lesions: tuple[LesionRequest, ...] = ()
    seed: int = 1  # decides anatomy, lesions, noise and, unless `fresh_uids`, all UIDs
    slice_thickness_mm: float = 5.0  # HU are averaged over this length along the normal
    slice_spacing_mm: float | None = None  # between neighbouring planes; None: the thickness
    gaps_mm: tuple[float, ...] = ()  # each distance between neighbours, foot to head, in place of spacing and slices
    slices: int | None = None  # None: as many as cover the head
    lowest_mm: float = -70.0  # z of the lowest slice at the image centre; the foramen magnum lies at about -68
    tilt_deg: float = 0.0  # GantryDetectorTilt (0018,1120): the planes' front goes up when positive
    rows: int = 512
    columns: int = 512
    pixel_spacing_mm: float = 0.45
    noise_hu: float = 4.5  # standard deviation in a slice
    row_sign: Sign = 1  # 1: columns run to the patient's left, as scanners store them
    column_sign: Sign = 1  # 1: rows run to the patient's back
    reversed_order: bool = False  # instances numbered from head to foot
    patient_position: PatientPosition = "HFS"
    table: bool = False  # a head rest under the head
    shift: Shift = USUAL  # departures from the usual head and kernel
    acquired_at: datetime | None = None  # aware; None: a fixed day in the past
    fresh_uids: bool = False  # new UIDs at every run; the pixels stay those of the seed

    def __post_init__(self) -> None:
        """Refuse a plan that no scanner could run."""
        _require(self.seed >= 0, f"A seed is 0 or more, not {self.seed}.")
        _within("slice thickness", self.slice_thickness_mm, 0.3, 20, "mm")
        _within("slice spacing", self.spacing_mm, 0.3, 50, "mm")
        for gap_mm in self.gaps_mm:
            _within("gap", gap_mm, 0.3, 200, "mm")
        _within("tilt", self.tilt_deg, -30, 30, "degrees")
        _within("pixel spacing", self.pixel_spacing_mm, 0.1, 10, "mm")
        _within("noise", self.noise_hu, 0, 100, "HU")
        _require(16 <= self.rows <= 2048 and 16 <= self.columns <= 2048, "An image has 16 to 2048 rows and columns.")
        _require(self.slices is None or 1 <= self.slices <= MOST_SLICES, f"A scan has 1 to {MOST_SLICES} slices.")
        _require(not (self.gaps_mm and self.slices is not None), "Give gaps or a number of slices, not both.")
        _require(
            self.acquired_at is None or self.acquired_at.tzinfo is not None, "The acquisition time needs a time zone."
        )

    @property
    def spacing_mm(self) -> float:
        """The usual distance between neighbouring planes."""
        return self.slice_thickness_mm if self.slice_spacing_mm is None else self.slice_spacing_mm

    @property
    def digest(self) -> str:
        """SHA-256 over what decides the study's content, in hex: not the clock, not the freshness of its UIDs."""
        return hashlib.sha256(repr(replace(self, acquired_at=None, fresh_uids=False)).encode()).hexdigest()


def _within(what: str, value: float, low: float, high: float, unit: str) -> None:
    _require(low <= value <= high, f"The {what} must be {low:g} to {high:g} {unit}, not {value:g}.")


def _require(fulfilled: bool, otherwise: str) -> None:  # noqa: FBT001  (reads as a sentence)
    if not fulfilled:
        raise PhantomInvalid(otherwise)
