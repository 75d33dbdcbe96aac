"""A 2D network that sees each slice between its neighbours, run over a volume: "2.5D".

Thick slices differ too much from one to the next for 3D kernels, and hold too much in common for none. Beyond the first
and last slice the outermost is repeated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.answer import Answer, joined_slices


class NeighbouringSlices(nn.Module):
    """(batch, channels, z, y, x) to (batch, classes, z, y, x), through a network over (n, channels * seen, y, x)."""

    def __init__(self, network: nn.Module, *, beside: int) -> None:
        super().__init__()
        if beside < 0:
            raise ValueError("a slice has 0 neighbours or more on each side")
        self.network = network
        self.beside = beside

    def forward(self, image: Tensor) -> Tensor | Answer:
        """Return logits, or what else the network answers while it trains."""
        batch, _, z, y, x = image.shape
        first, last = image[:, :, :1], image[:, :, -1:]
        padded = torch.cat([first] * self.beside + [image] + [last] * self.beside, dim=2)
        seen = [padded[:, :, shift : shift + z] for shift in range(2 * self.beside + 1)]
        slices = torch.cat(seen, dim=1).transpose(1, 2).reshape(batch * z, -1, y, x)
        answer: Tensor | Answer = self.network(slices)
        return answer.joined(batch) if isinstance(answer, Answer) else joined_slices(answer, batch)
