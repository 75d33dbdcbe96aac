"""A 2D U-Net whose encoder sees a scan and what lies opposite in the head, and whose skips say where the two differ.

Paper: Kwon et al., MICCAI 2019 (Siamese U-Net with a healthy template): one encoder with shared weights for both, the
absolute difference of their features beside those of the scan in every skip. Deviations: their template is not public,
the scan's own mirror image stands in for it, registered by the plane that halves the head (`mirror_image = true` in the
recipe); a bleed on both sides at the same place is no difference. Filters are not stated, so the 8.55 million
parameters at the defaults cannot be checked. MONAI's convolutions. Sides y and x must be multiples of 16 with five
levels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from monai.networks.nets.basic_unet import TwoConv
from torch import Tensor, nn
from torch.nn import functional

from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FILTERS = (32, 64, 128, 256, 512)


class SiameseUNet(nn.Module):
    """(batch, 2 * windows, y, x), the scan's windows first, to (batch, classes, y, x) logits."""

    def __init__(self, *, windows: int, classes: int, filters: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(*pair) for pair in pairwise((windows, *filters)))
        steps = tuple(reversed(tuple(pairwise(filters))))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in steps)
        self.join = nn.ModuleList(_block(3 * shallow, shallow) for shallow, _ in steps)
        self.head = nn.Conv2d(filters[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        x = torch.cat(image.chunk(2, dim=1))  # both go through the encoder as one batch: shared weights
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            scan, opposite = x.chunk(2)
            skips.append(torch.cat([scan, (scan - opposite).abs()], dim=1))
        x = x.chunk(2)[0]
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
            x = join(torch.cat([skip, up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def build_siamese_unet(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it with untrained weights: `in_channels` (2: a window of the scan and its mirror), `classes`, `filters`."""
    in_channels = int(parameters.get("in_channels", 2))
    if in_channels % 2:
        raise ValueError("siamese-unet compares the halves of the head: it needs mirror_image = true")
    network = SiameseUNet(
        windows=in_channels // 2,
        classes=int(parameters.get("classes", 2)),
        filters=tuple(int(width) for width in parameters.get("filters", FILTERS)),
    )
    return NeighbouringSlices(network, beside=0)


def _block(before: int, after: int) -> TwoConv:
    return TwoConv(2, before, after, act="RELU", norm="BATCH", bias=True)
