"""PatchFCN: a dilated residual network over patches of slices, which marks voxels and says what the patch holds.

Paper: Kuo et al., arXiv 1806.03265 and PNAS 2019; backbone DRN-D-38 (Yu 2017: dilations in the place of the last two
halvings, so the features are eight times coarser than the slice, and two convolutions that take their grid pattern
away). In training both heads count; in service the windows' voxels are averaged as in the paper, and the head for the
patch, whose maximum over a scan is the paper's score of an exam, has no say. Patches of 160 to 240 voxels are theirs.
Deviations: bilinear upsampling, no ImageNet weights. 25.99 million parameters at the defaults (three slices, one
window); the backbone has those of DRN-D-38 without its classifier. Sides y and x must be multiples of 8.
"""

from __future__ import annotations

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

WIDTH = 16  # filters of the first layer; the others follow
BLOCKS = (3, 4, 6, 3)
_DILATIONS = (1, 1, 2, 4)


class DilatedBlock(nn.Module):
    """Two convolutions and the input added, then ReLU (a ResNet's basic block)."""

    def __init__(self, before: int, after: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _convolution(before, after, stride=stride, dilation=dilation),
            _convolution(after, after, dilation=dilation, act=None),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else _convolution(before, after, kernel=1, stride=stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, after, y / stride, x / stride)."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))


class PatchFcn(nn.Module):
    """(batch, channels, y, x) to (batch, classes, y, x) logits, while training with the patch's labels."""

    def __init__(self, *, in_channels: int, classes: int, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            _convolution(in_channels, width, kernel=7),
            _convolution(width, width),
            _convolution(width, 2 * width, stride=2),
        ]
        before = 2 * width
        for level, (count, dilation) in enumerate(zip(blocks, _DILATIONS, strict=True)):
            after = 4 * width * 2**level
            for number in range(count):
                stride = 2 if number == 0 and level < 2 else 1
                layers.append(DilatedBlock(before, after, stride=stride, dilation=dilation))
                before = after
        layers += [_convolution(before, before, dilation=2), _convolution(before, before)]
        self.backbone = nn.Sequential(*layers)
        self.voxels = nn.Conv2d(before, classes, 1)
        self.patch = nn.Linear(before, classes - 1)

    def forward(self, x: Tensor) -> Tensor | Answer:
        """Return logits; while training whether the patch holds each label too."""
        features = self.backbone(x)
        logits = functional.interpolate(self.voxels(features), size=x.shape[2:], mode="bilinear")
        return Answer(logits=logits, presence=self.patch(features.mean(dim=(2, 3)))) if self.training else logits


def build_patchfcn(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels` (1), `classes` (2), `width` (16), `blocks` (four), `beside` (1 slice)."""
    beside = int(parameters.get("beside", 1))
    network = PatchFcn(
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        classes=int(parameters.get("classes", 2)),
        width=int(parameters.get("width", WIDTH)),
        blocks=tuple(int(count) for count in parameters.get("blocks", BLOCKS)),
    )
    return NeighbouringSlices(network, beside=beside)


def _convolution(
    before: int, after: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1, act: str | None = "RELU"
) -> Convolution:
    return Convolution(
        2, before, after, kernel_size=kernel, strides=stride, dilation=dilation, act=act, norm="BATCH", bias=False
    )
