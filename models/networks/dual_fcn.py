"""A cascade of classifiers and two fully convolutional networks, one pair for each HU window.

Paper: Cho et al., Journal of Digital Imaging 2019;32:450. In each of two windows a CNN says whether a slice bleeds and
an FCN marks the blood and its type; both windows' answers are averaged. In service a label that the classifiers are
sure not to see in a slice (less than one in ten) is not marked there: what the first stage misses is lost. Both stages
are trained at once, on the same slices. Deviations: the classifiers tell the labels apart (theirs bleed or not); the
paper names the windows, 40/40 and 50/100, and what could be had of it no layers: both stages are VGG-16 here, with
batch norm and without its fully connected layers, the FCN adds answers at 1/8, 1/16 and 1/32 (FCN-8s, Long 2015).
58.91 million parameters at the defaults cannot be checked. A window in service should hold whole slices. Sides y and x
must be multiples of 32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn
from torch.nn import functional

from models.networks.answer import Answer
from models.networks.neighbouring_slices import NeighbouringSlices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FILTERS, LAYERS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)  # VGG-16
_ABSENT = 20.0  # taken from the logits of a label that the slice does not hold
_DOUBTED = math.log(0.1 / 0.9)  # logit of one in ten; the paper's threshold could not be had


class SliceClassifier(nn.Module):
    """(batch, 1, y, x) to (batch, classes - 1) logits: does the slice hold each label."""

    def __init__(self, *, classes: int, filters: Sequence[int], layers: Sequence[int]) -> None:
        super().__init__()
        self.backbone = _vgg(filters, layers)
        self.head = nn.Linear(filters[-1], classes - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        for stage in self.backbone:
            x = functional.max_pool2d(stage(x), 2)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class Fcn8(nn.Module):
    """(batch, 1, y, x) to (batch, classes, y, x) logits, from the three coarsest levels."""

    def __init__(self, *, classes: int, filters: Sequence[int], layers: Sequence[int]) -> None:
        super().__init__()
        self.backbone = _vgg(filters, layers)
        # the answers are added up: one of them says how rare blood is
        self.heads = nn.ModuleList(
            nn.Conv2d(width, classes, 1, bias=number == 0) for number, width in enumerate(filters[-3:])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        sides, levels = x.shape[2:], []
        for stage in self.backbone:
            x = functional.max_pool2d(stage(x), 2)
            levels.append(x)
        said = [head(level) for head, level in zip(self.heads, levels[-3:], strict=True)]
        coarse = said[-1]
        for finer in reversed(said[:-1]):
            coarse = finer + functional.interpolate(coarse, size=finer.shape[2:], mode="bilinear")
        return functional.interpolate(coarse, size=sides, mode="bilinear")


class DualFcn(nn.Module):
    """(batch, windows, y, x) to (batch, classes, y, x) logits, while training with what each slice holds."""

    def __init__(self, *, windows: int, classes: int, filters: Sequence[int], layers: Sequence[int]) -> None:
        super().__init__()
        if len(filters) < 3:
            raise ValueError("the FCN of dual-fcn answers at three levels, so it has three at least")
        self.classifiers, self.markers = (
            nn.ModuleList(kind(classes=classes, filters=filters, layers=layers) for _ in range(windows))
            for kind in (SliceClassifier, Fcn8)
        )

    def forward(self, x: Tensor) -> Tensor | Answer:
        """Return logits."""
        windows = torch.split(x, 1, dim=1)
        logits = torch.stack([mark(one) for mark, one in zip(self.markers, windows, strict=True)]).mean(dim=0)
        holds = torch.stack([tell(one) for tell, one in zip(self.classifiers, windows, strict=True)]).mean(dim=0)
        if self.training:
            return Answer(logits=logits, presence=holds)
        absent = functional.pad((holds < _DOUBTED).to(logits.dtype), (1, 0))  # background is never absent
        return logits - _ABSENT * absent[:, :, None, None]


def build_dual_fcn(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels` (2 windows), `classes` (6), `filters` and `layers` (three levels at least)."""
    network = DualFcn(
        windows=int(parameters.get("in_channels", 2)),
        classes=int(parameters.get("classes", 6)),
        filters=tuple(int(width) for width in parameters.get("filters", FILTERS)),
        layers=tuple(int(count) for count in parameters.get("layers", LAYERS)),
    )
    return NeighbouringSlices(network, beside=0)


def _vgg(filters: Sequence[int], layers: Sequence[int]) -> nn.ModuleList:
    stages, before = [], 1
    for width, count in zip(filters, layers, strict=True):
        widths = (before, *[width] * count)
        stages.append(
            nn.Sequential(
                *(
                    Convolution(2, widths[number], widths[number + 1], act="RELU", norm="BATCH")
                    for number in range(count)
                )
            )
        )
        before = width
    return nn.ModuleList(stages)
