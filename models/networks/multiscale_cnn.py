"""A multi-scale 3D CNN: one branch for local detail, one that sees three times as far, and no U between them.

Paper: Patel et al., Scientific Reports 2019;9:17858 (spontaneous haemorrhage), after DeepMedic (Kamnitsas 2017): two
stacks of 3x3x3 convolutions, one over the scan and one over its means of 3x3x3 voxels, joined voxel by voxel.
Deviations: convolutions keep the size, so that it is served in overlapping windows like the others; the paper's second
training step, on patches that the first got wrong, is not done (patches are laid round lesions, `on_lesion`); the
filters are DeepMedic's, so the 0.66 million parameters at the defaults cannot be checked. MONAI's convolutions. Any
sides.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FILTERS = (30, 30, 40, 40, 40, 40, 50, 50)
JOINED = (150, 150)
FACTOR = 3  # how much coarser the far-seeing branch sees


class MultiscaleCnn(nn.Module):
    """(batch, channels, z, y, x) to (batch, classes, z, y, x) logits."""

    def __init__(self, *, in_channels: int, classes: int, filters: Sequence[int], joined: Sequence[int]) -> None:
        super().__init__()
        self.near, self.far = (
            nn.Sequential(*(_convolution(*pair, kernel=3) for pair in pairwise((in_channels, *filters))))
            for _ in range(2)
        )
        widths = (2 * filters[-1], *joined)
        self.join = nn.Sequential(*(_convolution(*pair, kernel=1) for pair in pairwise(widths)))
        self.head = nn.Conv3d(widths[-1], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        sides = x.shape[2:]
        coarse = functional.interpolate(x, size=[-(-side // FACTOR) for side in sides], mode="area")
        far = functional.interpolate(self.far(coarse), size=sides, mode="trilinear")
        logits: Tensor = self.head(self.join(torch.cat([self.near(x), far], dim=1)))
        return logits


def build_multiscale_cnn(parameters: Mapping[str, Any]) -> MultiscaleCnn:
    """Build it with untrained weights: `in_channels` (1), `classes` (2), `filters` (of a branch), `joined`."""
    return MultiscaleCnn(
        in_channels=int(parameters.get("in_channels", 1)),
        classes=int(parameters.get("classes", 2)),
        filters=tuple(int(width) for width in parameters.get("filters", FILTERS)),
        joined=tuple(int(width) for width in parameters.get("joined", JOINED)),
    )


def _convolution(before: int, after: int, *, kernel: int) -> Convolution:
    return Convolution(3, before, after, kernel_size=kernel, act="PRELU", norm="BATCH")
