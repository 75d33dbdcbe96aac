"""The small U-Net of `phantom-demo`, composed of MONAI's convolution blocks for thick head CT slices.

The finest level convolves within slices only and is halved within slices only, since the grid is coarser between slices
than in them. Batch normalisation, not instance normalisation: a window's answer must not depend on what else it shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetUpBlock
from torch import nn

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIRST_KERNEL_ZYX = (1, 3, 3)
_KERNEL_ZYX = (3, 3, 3)
_FIRST_STRIDE_ZYX = (1, 2, 2)
_STRIDE_ZYX = (2, 2, 2)
_NORM = ("batch", {"affine": True})
_ACTIVATION = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class PhantomUNet(nn.Module):
    """Input (n, in_channels, z, y, x) scaled to [-1, 1], output logits (n, classes, z, y, x).

    With L levels, z must be a multiple of 2**(L-2), y and x of 2**(L-1).
    """

    def __init__(self, *, classes: int, channels: Sequence[int], in_channels: int = 1) -> None:
        super().__init__()
        kernels = [_FIRST_KERNEL_ZYX] + [_KERNEL_ZYX] * (len(channels) - 1)
        strides = [_FIRST_STRIDE_ZYX] + [_STRIDE_ZYX] * (len(channels) - 2)
        self.first = _block(in_channels, channels[0], kernel=kernels[0], stride=(1, 1, 1))
        self.down = nn.ModuleList(
            _block(channels[level], channels[level + 1], kernel=kernels[level + 1], stride=strides[level])
            for level in range(len(channels) - 1)
        )
        self.up = nn.ModuleList(
            UnetUpBlock(
                spatial_dims=3,
                in_channels=channels[level + 1],
                out_channels=channels[level],
                kernel_size=kernels[level],
                stride=1,
                upsample_kernel_size=strides[level],
                norm_name=_NORM,
                act_name=_ACTIVATION,
            )
            for level in reversed(range(len(channels) - 1))
        )
        self.head = nn.Conv3d(channels[0], classes, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits of every class."""
        features = self.first(image)
        skips = []
        for down in self.down:
            skips.append(features)
            features = down(features)
        for up in self.up:
            features = up(features, skips.pop())
        logits: torch.Tensor = self.head(features)
        return logits


def build_phantom_unet(parameters: Mapping[str, Any]) -> nn.Module:
    """Construct it from `classes` (with background), `channels` (per level, finest first) and `in_channels` (1)."""
    try:
        in_channels = int(parameters.get("in_channels", 1))
        classes, channels = int(parameters["classes"]), [int(width) for width in parameters["channels"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"phantom-unet needs `classes` and `channels`: {error}.") from error
    if classes < 2 or len(channels) < 2 or min(channels) < 1:
        raise ModelError(f"phantom-unet needs 2 classes and 2 levels at least, not {classes} and {channels}.")
    return PhantomUNet(classes=classes, channels=channels, in_channels=in_channels)


def as_dynunet(
    parameters: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return MONAI's DynUNet and its weights that give the same answers; raise ModelError for fewer than three levels.

    DynUNet convolves across slices on the way up at the finest level, where this network does not: its kernels there
    are these, between zeros.
    """
    channels = [int(width) for width in parameters["channels"]]
    if len(channels) < 3:
        raise ModelError("MONAI's DynUNet has three levels at least.")
    strides = [(1, 1, 1), _FIRST_STRIDE_ZYX, *[_STRIDE_ZYX] * (len(channels) - 2)]
    arguments = {
        "spatial_dims": 3,
        "in_channels": int(parameters.get("in_channels", 1)),
        "out_channels": int(parameters["classes"]),
        "kernel_size": [_FIRST_KERNEL_ZYX, *[_KERNEL_ZYX] * (len(channels) - 1)],
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": channels,
        "norm_name": _NORM,
        "act_name": _ACTIVATION,
    }
    deepest, finest = len(channels) - 2, f"up.{len(channels) - 2}.conv_block."
    names = {"first.": "input_block.", f"down.{deepest}.": "bottleneck.", "head.": "output_block.conv.conv."}
    names |= {f"down.{level}.": f"downsamples.{level}." for level in range(deepest)}
    names |= {f"up.{level}.": f"upsamples.{level}." for level in range(deepest + 1)}
    found = {}
    for key, value in weights.items():
        own = next(name for name in names if key.startswith(name))
        across = key.startswith(finest) and value.ndim == 5
        found[names[own] + key.removeprefix(own)] = nn.functional.pad(value, (0, 0, 0, 0, 1, 1)) if across else value
    return arguments, found


def _block(
    channels_in: int, channels_out: int, *, kernel: tuple[int, int, int], stride: tuple[int, int, int]
) -> nn.Module:
    """Two convolutions with normalisation and activation; the first strides."""
    return UnetBasicBlock(
        spatial_dims=3,
        in_channels=channels_in,
        out_channels=channels_out,
        kernel_size=kernel,
        stride=stride,
        norm_name=_NORM,
        act_name=_ACTIVATION,
    )
