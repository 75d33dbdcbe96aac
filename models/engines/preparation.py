"""From HU on the node's grid to what a network was trained on, and back: the order of axes, and the scale of values.

A spec's parameters say both. `orientation` names where each axis of the network's input leads, as letters of
R/L, A/P and S/I (`SPL`, the node's own grid, where nothing is said). `scaling` is one of

- `{"kind": "range", "from": [low, high], "to": [low, high], "clip": true}`: MONAI's ScaleIntensityRange;
- `{"kind": "standard", "clip": [low, high], "mean": ..., "std": ...}`: nnU-Net's CTNormalization;
- nothing: the spec's `hu_window` to [-1, 1].

With `mirror_image` the network sees a second view beside each window of the scan: what lies opposite, on the other
side of the head's own middle plane (`models.symmetry`), scaled alike.

Each formula keeps the order of operations of the library that trained the network, so that labels are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from models.spec import ModelSpec

GRID_ORIENTATION = "SPL"
"""Where the axes (z, y, x) of a HeadGrid lead: to the head, to the back, to the patient's left."""

AXIS_OF = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}


class Scaling(Protocol):
    """Turns HU (float32) into the network's values; may overwrite."""

    def __call__(self, hu: torch.Tensor) -> torch.Tensor:
        """Scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """HU clipped to a window, then to [-1, 1]."""

    low: float
    high: float

    def __call__(self, hu: torch.Tensor) -> torch.Tensor:
        """Scale."""
        return (2.0 * hu.clamp(self.low, self.high) - (self.low + self.high)) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One range onto another, as MONAI's ScaleIntensityRange does it."""

    low: float
    high: float
    to_low: float
    to_high: float
    clip: bool

    def __call__(self, hu: torch.Tensor) -> torch.Tensor:
        """Scale."""
        scaled = (hu - self.low) / (self.high - self.low)
        scaled = scaled * (self.to_high - self.to_low) + self.to_low
        return scaled.clamp(self.to_low, self.to_high) if self.clip else scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """Clipped, then to mean 0 and deviation 1 of the training data, as nnU-Net's CTNormalization does it."""

    low: float
    high: float
    mean: float
    std: float

    def __call__(self, hu: torch.Tensor) -> torch.Tensor:
        """Scale."""
        return (hu.clamp(self.low, self.high) - self.mean) / max(self.std, 1e-8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How one model wants its input."""

    orientation: str
    scaling: Scaling
    mirror_image: bool = False  # whether it sees what lies opposite as a second view

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Preparation:
        """Read what the spec's parameters say; raise ModelError where it is impossible."""
        return cls.from_parameters(spec.parameters, spec.hu_window)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], hu_window: tuple[float, float]) -> Preparation:
        """Read what such parameters say; raise ModelError where it is impossible."""
        orientation = parameters.get("orientation", GRID_ORIENTATION)
        if not isinstance(orientation, str) or sorted(AXIS_OF.get(letter, -1) for letter in orientation) != [0, 1, 2]:
            raise ModelError(
                f"The spec's parameter orientation must name each axis once, such as SPL or RAS, not {orientation!r}."
            )
        mirror_image = parameters.get("mirror_image", False)
        if not isinstance(mirror_image, bool):
            raise ModelError(f"The spec's parameter mirror_image must be true or false, not {mirror_image!r}.")
        return cls(
            orientation=orientation, scaling=_scaling(parameters.get("scaling"), hu_window), mirror_image=mirror_image
        )

    @property
    def views(self) -> int:
        """Channels that the network gets before it makes windows of them."""
        return 2 if self.mirror_image else 1

    def axis(self, grid_axis: int) -> int:
        """Return which of the network's axes runs along an axis of the grid."""
        return self._axes.index(grid_axis)

    def in_network_order(self, of_zyx: tuple[float, float, float]) -> list[float]:
        """Return three values of the grid's axes in the order of the network's."""
        return [of_zyx[axis] for axis in self._axes]

    def arranged(self, array_zyx: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array on the grid with the network's axes, as a view."""
        return np.flip(array_zyx.transpose(self._axes), self._flipped)

    def tensor(self, *views_hu_zyx: npt.NDArray[np.float32]) -> torch.Tensor:
        """Return the network's input, (1, views, a, b, c)."""
        hu = np.stack([self.arranged(view) for view in views_hu_zyx]).astype(np.float32, copy=False)
        return self.scaling(torch.from_numpy(np.ascontiguousarray(hu)))[None]

    def back(self, channels: torch.Tensor) -> torch.Tensor:
        """Return (c, a, b, c) channels of the network's axes on the grid's, (c, z, y, x)."""
        unflipped = channels.flip([1 + axis for axis in self._flipped]) if self._flipped else channels
        return unflipped.permute(0, *(1 + self._axes.index(axis) for axis in range(3)))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(AXIS_OF[letter] for letter in self.orientation)

    @property
    def _flipped(self) -> tuple[int, ...]:
        """The network's axes that run against the grid."""
        return tuple(number for number, letter in enumerate(self.orientation) if letter not in GRID_ORIENTATION)


def _scaling(plain: Any, hu_window: tuple[float, float]) -> Scaling:
    if plain is None:
        return Window(low=hu_window[0], high=hu_window[1])
    if not isinstance(plain, dict):
        raise ModelError(f"The spec's parameter scaling must be an object, not {plain!r}.")
    if plain.get("kind") == "range":
        low, high = _pair(plain, "from")
        to_low, to_high = _pair(plain, "to")
        return Range(low=low, high=high, to_low=to_low, to_high=to_high, clip=plain.get("clip") is True)
    if plain.get("kind") == "standard":
        low, high = _pair(plain, "clip")
        return Standard(low=low, high=high, mean=_number(plain, "mean"), std=_number(plain, "std"))
    raise ModelError(f"There is no scaling {plain.get('kind')!r}; there are range and standard.")


def _pair(plain: Mapping[str, Any], key: str) -> tuple[float, float]:
    pair = plain.get(key)
    if isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_number(value) for value in pair):
        low, high = float(pair[0]), float(pair[1])
        if low < high:
            return low, high
    raise ModelError(f"The spec's scaling must give {key} as [low, high] with low < high, not {pair!r}.")


def _number(plain: Mapping[str, Any], key: str) -> float:
    value = plain.get(key)
    if not _is_number(value):
        raise ModelError(f"The spec's scaling must give {key} as a number, not {value!r}.")
    return float(value)  # type: ignore[arg-type]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
