"""A U-Net put together from the blocks and skips of one paper, over slices or volumes.

Max pooling down, transposed convolutions up. The families of the literature that differ in their blocks alone share it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn
from torch.nn import functional

from models.networks.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    BlockMaker = Callable[[int, int], nn.Module]  # channels before and after
    SkipMaker = Callable[[int], nn.Module]  # channels; called with the skip and what came up from below

_INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class ComposedUNet(nn.Module):
    """(batch, channels, ...) to (batch, classes, ...) logits, with two spatial axes or three.

    While training, `supervised` coarser levels of the decoder answer too, brought to the full size.
    """

    def __init__(
        self,
        *,
        dims: int,
        in_channels: int,
        classes: int,
        filters: Sequence[int],
        block: BlockMaker,
        skip: SkipMaker | None = None,
        supervised: int = 0,
    ) -> None:
        super().__init__()
        if len(filters) < 2 or not 0 <= supervised <= len(filters) - 2:
            raise ValueError("a U-Net has two levels at least, and supervises fewer than it has below the finest")
        self.dims = dims
        self.down = nn.ModuleList(block(*pair) for pair in pairwise((in_channels, *filters)))
        self.pool = Pool[Pool.MAX, dims](2)
        finest_last = tuple(reversed(tuple(pairwise(filters))))
        self.up = nn.ModuleList(Conv[Conv.CONVTRANS, dims](deep, shallow, 2, stride=2) for shallow, deep in finest_last)
        self.skip = nn.ModuleList(_Open() if skip is None else skip(shallow) for shallow, _ in finest_last)
        self.join = nn.ModuleList(block(2 * shallow, shallow) for shallow, _ in finest_last)
        self.heads = nn.ModuleList(Conv[Conv.CONV, dims](width, classes, 1) for width in filters[: 1 + supervised])

    def forward(self, x: Tensor) -> Tensor | Answer:
        """Return logits; while training those of the supervised levels too."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        finest_first: list[Tensor] = []
        for up, weigh, join, skip in zip(self.up, self.skip, self.join, reversed(skips[:-1]), strict=True):
            risen = up(x)
            x = join(torch.cat([weigh(skip, risen), risen], dim=1))
            finest_first.insert(0, x)
        logits: Tensor = self.heads[0](x)
        if not self.training or len(self.heads) == 1:
            return logits
        coarse = [head(features) for head, features in zip(self.heads, finest_first, strict=False)][1:]
        mode = _INTERPOLATION[self.dims]
        return Answer(
            logits=logits,
            auxiliary=tuple(functional.interpolate(one, size=logits.shape[2:], mode=mode) for one in coarse),
        )


class _Open(nn.Module):
    """A skip that passes as it is."""

    def forward(self, skip: Tensor, _: Tensor) -> Tensor:
        return skip
