"""The published network: DeepMedic with three valid-convolution paths, as the state dicts of BLAST-CT v1 expect it.

Monteiro et al., Lancet Digital Health 2020;2:e314; Kamnitsas et al., Medical Image Analysis 2017;36:61. This module is
the plain reference: what `models.engines.deepmedic` runs is folded from it and compared with it. Module names follow
the published keys (`path(5, 5, 5)0.path.1.conv.weight`), so that a state dict loads strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

KERNEL = 3
"""Side of the convolutions in the paths, voxels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a spec's parameters say about the network."""

    scale_factors: tuple[int, ...]  # in the order of concatenation; the last is 1
    path_channels: tuple[int, ...]
    fused_channels: tuple[int, ...]
    classes: int  # including background

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], *, classes: int) -> Architecture:
        """Read the architecture from a spec's parameters; raise ModelError where one is missing or impossible."""
        values: dict[str, tuple[int, ...]] = {}
        for key in ("scale_factors", "path_channels", "fused_channels"):
            raw = parameters.get(key)
            if not isinstance(raw, list) or not raw or not all(type(v) is int and 1 <= v <= 1024 for v in raw):
                raise ModelError(f"The spec's parameter {key} must be a list of positive whole numbers, not {raw!r}.")
            values[key] = tuple(raw)
        if values["scale_factors"][-1] != 1 or not all(s % 2 for s in values["scale_factors"]):
            raise ModelError("The spec's parameter scale_factors must be odd and end with 1.")
        return cls(**values, classes=classes)

    @property
    def halo(self) -> int:
        """Samples that a path's valid convolutions eat on each side, on the path's own lattice."""
        return len(self.path_channels) * (KERNEL // 2)

    @property
    def margin(self) -> int:
        """Voxels of context on each side of a window."""
        return self.halo * max(self.scale_factors)


class Block(nn.Module):
    """BatchNorm, PReLU, convolution; the centre of the input is added where the channel counts are equal."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm3d(channels_in)
        self.prelu = nn.PReLU(num_parameters=1)
        self.conv = nn.Conv3d(channels_in, channels_out, kernel, bias=False)

    @property
    def has_shortcut(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.conv.in_channels == self.conv.out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block; every side shrinks by kernel - 1."""
        y: torch.Tensor = self.conv(self.prelu(self.bn(x)))
        return y + centre(x, y.shape[2:]) if self.has_shortcut else y


class Path(nn.Module):
    """One path on its own lattice: subsample, eight blocks."""

    def __init__(self, scale: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = scale
        self.path = nn.ModuleDict()
        for number, (channels_in, channels_out) in enumerate(zip((1, *channels), channels, strict=False), start=1):
            self.path[str(number)] = Block(channels_in, channels_out, KERNEL)

    @property
    def blocks(self) -> list[Block]:
        """The blocks in order."""
        return [block for block in self.path.values() if isinstance(block, Block)]

    def forward(self, x: torch.Tensor, output: torch.Size) -> torch.Tensor:
        """Crop the centre that the path needs for an output of this size, and return features of that size."""
        needed = torch.Size(self.scale * (-(-side // self.scale) + len(self.path) * (KERNEL - 1)) for side in output)
        s = self.scale
        y = centre(x, needed)[:, :, s // 2 :: s, s // 2 :: s, s // 2 :: s]
        for block in self.blocks:
            y = block(y)
        return centre(functional.interpolate(y, scale_factor=float(s), mode="nearest") if s > 1 else y, output)


class DeepMedic(nn.Module):
    """The whole network: windows of (1, 1, D, H, W) in, logits of (1, classes, D - 80, H - 80, W - 80) out."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        for number, scale in enumerate(architecture.scale_factors):
            self.add_module(f"path({scale}, {scale}, {scale}){number}", Path(scale, architecture.path_channels))
        merged = architecture.path_channels[-1] * len(architecture.scale_factors)
        outputs = (*architecture.fused_channels, architecture.classes)
        inputs = (merged, *architecture.fused_channels)
        self.fully_connected = nn.ModuleList(Block(i, o, 1) for i, o in zip(inputs, outputs, strict=True))

    @property
    def paths(self) -> list[Path]:
        """The paths in the order of concatenation."""
        return [module for module in self.children() if isinstance(module, Path)]

    @property
    def fused_blocks(self) -> list[Block]:
        """The 1 x 1 x 1 blocks behind the concatenation."""
        return [block for block in self.fully_connected if isinstance(block, Block)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of the window's inside, 2 x margin smaller than the window on every axis."""
        output = torch.Size(side - 2 * self.architecture.margin for side in x.shape[2:])
        y = torch.cat([path(x, output) for path in self.paths], dim=1)
        for block in self.fused_blocks:
            y = block(y)
        return y


def centre(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return the middle part of the last three axes as a view; the lower half keeps less where the rest is odd."""
    for axis, (have, want) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        x = x.narrow(axis, (have - want) // 2, want)
    return x
