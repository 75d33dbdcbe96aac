"""nnU-Net's two networks, built from a plan's numbers: a plain and a residual encoder with one decoder.

Isensee et al., Nature Methods 2021;18:203, and arXiv:2404.09556 for the residual encoder. Names of modules follow the
checkpoints' keys, so that a state dict loads strictly. Only what nnU-Net plans for one CT channel in three dimensions:
instance normalisation, leaky ReLU, no dropout, no squeeze and excitation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Triple = tuple[int, int, int]
Kind = Literal["PlainConvUNet", "ResidualEncoderUNet"]

KINDS: tuple[Kind, ...] = ("PlainConvUNet", "ResidualEncoderUNet")
MOST_STAGES, MOST_FEATURES, MOST_BLOCKS, LARGEST_KERNEL = 12, 4096, 16, 7
ONE: Triple = (1, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a plan says about a network, from the finest stage to the coarsest."""

    features: tuple[int, ...]
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    blocks: tuple[int, ...]  # convolutions of a plain stage, residual blocks of a residual one
    decoder_convolutions: tuple[int, ...]  # one fewer
    bias: bool
    classes: int  # background included

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Layout:
        """Read plain numbers; raise ModelError where one is missing or impossible."""
        stages = _whole(parameters, "stages", MOST_STAGES)
        if stages < 2:
            raise ModelError("An nnU-Net network has two stages at least.")
        return cls(
            features=_wholes(parameters, "features", stages, MOST_FEATURES),
            kernels=_triples(parameters, "kernels", stages),
            strides=_triples(parameters, "strides", stages),
            blocks=_wholes(parameters, "blocks", stages, MOST_BLOCKS),
            decoder_convolutions=_wholes(parameters, "decoder_convolutions", stages - 1, MOST_BLOCKS),
            bias=parameters.get("bias") is True,
            classes=_whole(parameters, "classes", 255),
        )

    @property
    def divisors(self) -> Triple:
        """What the sides of a window must be multiples of."""
        a, b, c = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return a, b, c


class Convolution(nn.Module):
    """Convolution, instance normalisation and, where `active`, leaky ReLU."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: Triple, stride: Triple = ONE, bias: bool, active: bool = True
    ) -> None:
        super().__init__()
        a, b, c = ((side - 1) // 2 for side in kernel)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, (a, b, c), bias=bias)
        self.norm = nn.InstanceNorm3d(outputs, eps=1e-5, affine=True)
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run."""
        y: torch.Tensor = self.norm(self.conv(x))
        return nn.functional.leaky_relu(y, 0.01, inplace=True) if self.active else y


class Convolutions(nn.Module):
    """Several in a row; the first may stride."""

    def __init__(
        self, count: int, inputs: int, outputs: int, *, kernel: Triple, stride: Triple = ONE, bias: bool
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                Convolution(
                    outputs if number else inputs,
                    outputs,
                    kernel=kernel,
                    stride=ONE if number else stride,
                    bias=bias,
                )
                for number in range(count)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run."""
        y: torch.Tensor = self.convs(x)
        return y


class Residual(nn.Module):
    """Two convolutions round a shortcut, which is averaged and projected where sizes differ (ResNet-D)."""

    def __init__(self, inputs: int, outputs: int, *, kernel: Triple, stride: Triple, bias: bool) -> None:
        super().__init__()
        self.conv1 = Convolution(inputs, outputs, kernel=kernel, stride=stride, bias=bias)
        self.conv2 = Convolution(outputs, outputs, kernel=kernel, bias=bias, active=False)
        shortcut: list[nn.Module] = [nn.AvgPool3d(stride, stride)] if stride != ONE else []
        if inputs != outputs:
            shortcut.append(Convolution(inputs, outputs, kernel=ONE, bias=False, active=False))
        self.skip = nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run."""
        y: torch.Tensor = self.conv2(self.conv1(x))
        y += self.skip(x)
        return nn.functional.leaky_relu(y, 0.01, inplace=True)


class Residuals(nn.Module):
    """Several residual blocks in a row; the first may stride."""

    def __init__(self, count: int, inputs: int, outputs: int, *, kernel: Triple, stride: Triple, bias: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                Residual(
                    outputs if number else inputs, outputs, kernel=kernel, stride=ONE if number else stride, bias=bias
                )
                for number in range(count)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run."""
        y: torch.Tensor = self.blocks(x)
        return y


class Encoder(nn.Module):
    """Stages from fine to coarse; returns what each one gives."""

    def __init__(self, layout: Layout, *, residual: bool) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        inputs = 1
        self.stem: nn.Module | None = None
        if residual:
            inputs = layout.features[0]
            self.stem = Convolutions(1, 1, inputs, kernel=layout.kernels[0], bias=layout.bias)
        for outputs, kernel, stride, count in zip(
            layout.features, layout.kernels, layout.strides, layout.blocks, strict=True
        ):
            if residual:
                stages.append(Residuals(count, inputs, outputs, kernel=kernel, stride=stride, bias=layout.bias))
            else:
                plain = Convolutions(count, inputs, outputs, kernel=kernel, stride=stride, bias=layout.bias)
                stages.append(nn.Sequential(plain))
            inputs = outputs
        self.stages = nn.Sequential(*stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Run."""
        x = x if self.stem is None else self.stem(x)
        answers = []
        for stage in self.stages:
            x = stage(x)
            answers.append(x)
        return answers


class Decoder(nn.Module):
    """From coarse to fine, joining what the encoder gave; the coarser logits served training alone."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        below = list(reversed(layout.features))
        stages, upward, heads = [], [], []
        for number, count in enumerate(layout.decoder_convolutions):
            width, stride = below[number + 1], layout.strides[-(number + 1)]
            kernel = layout.kernels[-(number + 2)]
            upward.append(nn.ConvTranspose3d(below[number], width, stride, stride, bias=layout.bias))
            stages.append(Convolutions(count, 2 * width, width, kernel=kernel, bias=layout.bias))
            heads.append(nn.Conv3d(width, layout.classes, 1))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(upward)
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, answers: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the finest logits."""
        x = answers[-1]
        for stage, up, answer in zip(self.stages, self.transpconvs, reversed(answers[:-1]), strict=True):
            x = stage(torch.cat((up(x), answer), dim=1))
        logits: torch.Tensor = self.seg_layers[-1](x)
        return logits


class PlannedUNet(nn.Module):
    """Input (n, 1, a, b, c), output logits (n, classes, a, b, c)."""

    def __init__(self, layout: Layout, *, residual: bool) -> None:
        super().__init__()
        self.encoder = Encoder(layout, residual=residual)
        self.decoder = Decoder(layout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run."""
        logits: torch.Tensor = self.decoder(self.encoder(x))
        return logits


def build_nnunet(name: str, parameters: Mapping[str, Any]) -> nn.Module:
    """Construct the network with untrained weights; raise ModelError where name or numbers are not usable."""
    if name not in KINDS:
        raise ModelError(f"There is no nnU-Net network {name!r}; there are {' and '.join(KINDS)}.")
    return PlannedUNet(Layout.from_parameters(parameters), residual=name == "ResidualEncoderUNet")


def own_keys(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors under this module's keys.

    nnU-Net registers some modules twice (a block's parts also as `all_modules`, the encoder also in the decoder); the
    second name of the same tensor is left out.
    """
    return {
        key: value
        for key, value in state.items()
        if ".all_modules." not in key and not key.startswith("decoder.encoder.")
    }


def _whole(parameters: Mapping[str, Any], key: str, most: int) -> int:
    value = parameters.get(key)
    if type(value) is not int or not 1 <= value <= most:
        raise ModelError(f"The plan's {key} must be a whole number from 1 to {most}, not {value!r}.")
    return value


def _wholes(parameters: Mapping[str, Any], key: str, count: int, most: int) -> tuple[int, ...]:
    values = parameters.get(key)
    if (
        not isinstance(values, list | tuple)
        or len(values) != count
        or not all(type(value) is int and 1 <= value <= most for value in values)
    ):
        raise ModelError(f"The plan's {key} must be {count} whole numbers from 1 to {most}, not {values!r}.")
    return tuple(values)


def _triples(parameters: Mapping[str, Any], key: str, count: int) -> tuple[Triple, ...]:
    values = parameters.get(key)
    if not isinstance(values, list | tuple) or len(values) != count:
        raise ModelError(f"The plan's {key} must be {count} triples, not {values!r}.")
    triples = []
    for value in values:
        a, b, c = _wholes({key: value}, key, 3, LARGEST_KERNEL)
        triples.append((a, b, c))
    return tuple(triples)
