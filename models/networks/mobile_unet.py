"""A 2D encoder and decoder round a Transformer: MobileNetV2, self-attention over its deepest map, ASPP, skips.

System: Li (CNN and Transformer, CQ500), of which the surveys name these parts. Backbone: Sandler et al., arXiv
1801.04381, 2.22 million parameters with its last convolution, as there without the classifier; ASPP after Chen 2017.
MONAI's convolutions, self-attention, ASPP and the decoder of its FlexibleUNet. Deviations: how the parts are joined,
and their sizes, are ours; no place is embedded, since patches and windows in service differ in size: the padding of
convolutions tells where the rim is; no ImageNet weights. 6.96 million parameters at the defaults cannot be checked.
Sides y and x must be multiples of 32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.blocks.aspp import SimpleASPP
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.mlp import MLPBlock
from monai.networks.blocks.selfattention import SABlock
from torch import Tensor, nn

from models.networks.neighbouring_slices import NeighbouringSlices
from models.networks.slice_decoder import slice_decoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# arXiv 1801.04381, table 2: expansion, channels, blocks, first stride
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, LAST = 32, 1280
_SKIPS = (0, 1, 2, 4)  # the stages whose maps are the last of their size
DECODER = (128, 96, 64, 32, 16)
DILATIONS = (1, 6, 12, 18)
_HEADS = 8


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow without activation; the input is added where sizes agree."""

    def __init__(self, before: int, after: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        wide = before * expansion
        widen = [_convolution(before, wide, kernel=1)] if expansion > 1 else []
        self.convolutions = nn.Sequential(
            *widen,
            _convolution(wide, wide, stride=stride, groups=wide),
            _convolution(wide, after, kernel=1, act=None),
        )
        self.adds = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, after, y / stride, x / stride)."""
        narrowed: Tensor = self.convolutions(x)
        return narrowed + x if self.adds else narrowed


class AttentionLayer(nn.Module):
    """A Transformer's encoder layer, norms first; MONAI's own block holds weights for a decoder besides."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.attention = SABlock(hidden, _HEADS)
        self.mlp = MLPBlock(hidden, 4 * hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens, (batch, places, hidden)."""
        tokens = tokens + self.attention(self.norm_attention(tokens))
        added: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return added


class MobileUNet(nn.Module):
    """(batch, channels, y, x) to (batch, classes, y, x) logits."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        stages: Sequence[Sequence[int]],
        last: int,
        hidden: int,
        depth: int,
        decoder: Sequence[int],
    ) -> None:
        super().__init__()
        self.stem = _convolution(in_channels, STEM, stride=2)
        widths = (STEM, *(channels for _, channels, _, _ in stages))
        self.stages = nn.ModuleList(_stage(before, *stage) for before, stage in zip(widths[:-1], stages, strict=True))
        self.last = _convolution(widths[-1], last, kernel=1)
        self.narrow = _convolution(last, hidden, kernel=1)
        self.attention = nn.Sequential(*(AttentionLayer(hidden) for _ in range(depth)))
        self.aspp = SimpleASPP(2, hidden, hidden // 4, kernel_sizes=(1, 3, 3, 3), dilations=DILATIONS)
        self.decoder = slice_decoder((in_channels, *(stages[number][1] for number in _SKIPS), hidden), decoder)
        self.head = nn.Conv2d(decoder[-1], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        features = [x]
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _SKIPS:
                features.append(x)
        x = self.narrow(self.last(x))
        tokens = self.attention(x.flatten(2).transpose(1, 2))
        features.append(self.aspp(tokens.transpose(1, 2).reshape(x.shape)))
        logits: Tensor = self.head(self.decoder(features))
        return logits


def build_mobile_unet(parameters: Mapping[str, Any]) -> NeighbouringSlices:
    """Build it untrained: `in_channels`, `classes`, `stages`, `last`, `hidden`, `depth`, `decoder` (five), `beside`."""
    beside = int(parameters.get("beside", 0))
    network = MobileUNet(
        in_channels=int(parameters.get("in_channels", 1)) * (2 * beside + 1),
        classes=int(parameters.get("classes", 2)),
        stages=tuple(tuple(int(one) for one in stage) for stage in parameters.get("stages", STAGES)),
        last=int(parameters.get("last", LAST)),
        hidden=int(parameters.get("hidden", 256)),
        depth=int(parameters.get("depth", 4)),
        decoder=tuple(int(width) for width in parameters.get("decoder", DECODER)),
    )
    return NeighbouringSlices(network, beside=beside)


def _stage(before: int, expansion: int, after: int, count: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            InvertedResidual(
                before if number == 0 else after, after, expansion=expansion, stride=stride if number == 0 else 1
            )
            for number in range(count)
        )
    )


def _convolution(
    before: int, after: int, *, kernel: int = 3, stride: int = 1, groups: int = 1, act: str | None = "RELU6"
) -> Convolution:
    return Convolution(
        2, before, after, kernel_size=kernel, strides=stride, groups=groups, act=act, norm="BATCH", bias=False
    )
