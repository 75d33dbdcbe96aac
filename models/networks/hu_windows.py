"""Several HU windows as the input channels of a network, cut from what the engine gives.

The engine scales `hu_range` to [-1, 1]; each window of it becomes a channel, scaled to [-1, 1] and clipped again. So a
network of several windows is served, and trained, like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SEEN = ("hu_windows", "hu_range")
_BEHIND = "1."  # of the names of weights: second in a Sequential


class HuWindows(nn.Module):
    """(batch, views, a, b, c) over a range of HU to (batch, views * windows, a, b, c), a view after the other."""

    low: Tensor
    high: Tensor

    def __init__(self, hu_range: Sequence[float], windows: Sequence[Sequence[float]]) -> None:
        super().__init__()
        bottom, top = (float(value) for value in hu_range)
        if not windows or any(not bottom <= low < high <= top for low, high in windows):
            raise ValueError(f"hu_windows must be [low, high] within hu_range {list(hu_range)}")
        scaled = 2 * (torch.tensor(windows, dtype=torch.float32) - bottom) / (top - bottom) - 1
        self.register_buffer("low", scaled[:, 0].reshape(1, 1, -1, 1, 1, 1), persistent=False)
        self.register_buffer("high", scaled[:, 1].reshape(1, 1, -1, 1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return one channel for each view and window."""
        scaled: Tensor = (2 * (image[:, :, None] - self.low) / (self.high - self.low) - 1).clamp(-1, 1)
        return scaled.flatten(1, 2)


def behind_windows(parameters: Mapping[str, Any], build: Callable[[Mapping[str, Any]], nn.Module]) -> nn.Module:
    """Build a network, behind its HU windows where the parameters name them (`hu_windows` within `hu_range`)."""
    network = build(without_windows(parameters))
    if "hu_windows" not in parameters:
        return network
    try:
        windows = HuWindows(parameters.get("hu_range", ()), parameters["hu_windows"])
    except (TypeError, ValueError) as error:
        raise ModelError(f"A network cannot be given these HU windows: {error}.") from error
    return nn.Sequential(windows, network)


def without_windows(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the network itself is told."""
    return {key: value for key, value in parameters.items() if key not in _SEEN}


def behind_windows_name(name: str) -> str:
    """Return the name that a network's weight has behind windows."""
    return _BEHIND + name


def own_name(name: str) -> str:
    """Return the name that a weight has in the network itself."""
    return name.removeprefix(_BEHIND)
