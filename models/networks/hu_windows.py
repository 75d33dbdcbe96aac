"""Several HU windows as the input channels of a network, cut from what the engine gives.

The engine scales `hu_range` to [-1, 1]; each window of it becomes a channel, scaled to [-1, 1] and clipped again. So a
network of several windows is served, and trained, like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


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
