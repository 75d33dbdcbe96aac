"""How a phantom may depart from the usual adult and scanner, to see what a model trained on usual ones does then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.phantoms.adult import Adult


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A departure; the default is none."""

    ageing: float = 0.0  # 0 the usual adult; 1 wide sulci and ventricles, faint white matter, more calcium
    blood_hu: float = 0.0  # added to every bleed: below zero as in anaemia, or days after
    kernel_cycles_per_mm: float = 0.33  # fall-off of the noise: the usual soft-tissue kernel


USUAL = Shift()


def aged(adult: Adult, ageing: float) -> Adult:
    """Return the adult with as much more ageing."""
    return replace(
        adult,
        subarachnoid_mm=adult.subarachnoid_mm + 1.4 * ageing,
        sulcus_mm=adult.sulcus_mm + 0.8 * ageing,
        ventricle_mm=adult.ventricle_mm + 3.0 * ageing,
        white_hu=adult.white_hu - 3.0 * ageing,
        grey_hu=adult.grey_hu - 1.5 * ageing,
        choroid_hu=adult.choroid_hu + 100.0 * ageing,
        pineal_hu=adult.pineal_hu + 100.0 * ageing,
    )
