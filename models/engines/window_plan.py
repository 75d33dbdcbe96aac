"""How a spec wants a same-size network's windows: size, overlap, blending, flips."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

Blend = Literal["gaussian", "constant"]
Tiling = Literal["monai", "nnunet"]

LARGEST_SIDE = 512
SMALLEST_SIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """Windows in the order of the network's axes."""

    window: tuple[int, int, int]
    overlap: float  # share of a window that its neighbour covers too
    blend: Blend
    padding: float  # the network's value beyond an image that is smaller than a window
    flips: tuple[int, ...]  # the network's axes (0, 1, 2) along which it also looks at mirror images
    tiling: Tiling
    everywhere: bool  # over the whole grid, not only round where intracranial tissue can be

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> WindowPlan:
        """Read the plan from a spec's parameters; raise ModelError where it is missing or impossible."""
        key = "window" if "window" in parameters else "window_zyx"
        window = parameters.get(key)
        if (
            not isinstance(window, list)
            or len(window) != 3
            or not all(type(v) is int and 1 <= v <= LARGEST_SIDE for v in window)
        ):
            raise ModelError(
                f"The spec's parameter {key} must be three whole numbers from 1 to {LARGEST_SIDE}, not {window!r}."
            )
        overlap = parameters.get("overlap", 0.25)
        if not _is_number(overlap) or not 0 <= overlap < 1:
            raise ModelError(f"The spec's parameter overlap must be at least 0 and less than 1, not {overlap!r}.")
        padding = parameters.get("padding", -1.0)
        if not _is_number(padding) or not math.isfinite(padding):
            raise ModelError(f"The spec's parameter padding must be a number, not {padding!r}.")
        flips = parameters.get("flips", [])
        if not isinstance(flips, list) or flips != sorted(set(flips) & {0, 1, 2}):
            raise ModelError(f"The spec's parameter flips must list axes of 0, 1 and 2, not {flips!r}.")
        return cls(
            window=(window[0], window[1], window[2]),
            overlap=float(overlap),
            blend=_one_of(parameters, "blend", "gaussian", "constant"),
            padding=float(padding),
            flips=tuple(flips),
            tiling=_one_of(parameters, "tiling", "monai", "nnunet"),
            everywhere=parameters.get("everywhere", False) is True,
        )

    @property
    def mirrors(self) -> tuple[tuple[int, ...], ...]:
        """Every set of axes that is flipped at once, the empty one first."""
        return tuple(axes for count in range(len(self.flips) + 1) for axes in itertools.combinations(self.flips, count))

    @property
    def shrinks(self) -> tuple[int, ...]:
        """By how much windows may shrink where memory is short: halves keep what a network's strides divide."""
        return tuple(
            by
            for by in (2, 4)
            if all(side % by == 0 or side < SMALLEST_SIDE for side in self.window)
            and any(side // by >= SMALLEST_SIDE for side in self.window)
        )

    def shrunk(self, by: int) -> tuple[int, int, int]:
        """Return the window with sides divided; thin sides stay."""
        a, b, c = (side // by if side // by >= SMALLEST_SIDE else side for side in self.window)
        return a, b, c


def _one_of(parameters: Mapping[str, Any], key: str, default: Any, other: str) -> Any:
    value = parameters.get(key, default)
    if value not in {default, other}:
        raise ModelError(f"The spec's parameter {key} must be {default} or {other}, not {value!r}.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
