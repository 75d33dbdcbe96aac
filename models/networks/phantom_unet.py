"""The small U-Net of `phantom-demo`, composed of MONAI's convolution blocks for thick head CT slices.

The finest level convolves within slices only and is halved within slices only, since the grid is coarser between slices
than in them. Batch normalisation, not instance normalisation: a window's answer must not depend on what else it shows.

With `subpixel` 2, blocks of 2 x 2 voxels of a slice come in as channels and the answer is laid out to voxels again
(sub-pixel convolution, Shi et al., CVPR 2016, doi 10.1109/CVPR.2016.207): nothing is lost, and wide layers on a quarter
of the places take a processor half the time of narrow layers on all of them.
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

    With L levels, z must be a multiple of 2**(L-2), y and x of 2**(L-1) times `subpixel`.
    """

    def __init__(self, *, classes: int, channels: Sequence[int], in_channels: int = 1, subpixel: int = 1) -> None:
        super().__init__()
        self.subpixel = subpixel
        kernels = [_FIRST_KERNEL_ZYX] + [_KERNEL_ZYX] * (len(channels) - 1)
        strides = [_FIRST_STRIDE_ZYX] + [_STRIDE_ZYX] * (len(channels) - 2)
        self.first = _block(in_channels * subpixel**2, channels[0], kernel=kernels[0], stride=(1, 1, 1))
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
        if subpixel == 1:
            self.head: nn.Module = nn.Conv3d(channels[0], classes, kernel_size=1)
        else:
            sides = (1, subpixel, subpixel)
            self.head = nn.ConvTranspose3d(channels[0], classes, kernel_size=sides, stride=sides)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits of every class."""
        features = self.first(image if self.subpixel == 1 else _as_channels(image, self.subpixel))
        skips = []
        for down in self.down:
            skips.append(features)
            features = down(features)
        for up in self.up:
            features = up(features, skips.pop())
        logits: torch.Tensor = self.head(features)
        return logits


def build_phantom_unet(parameters: Mapping[str, Any]) -> nn.Module:
    """Build it from `classes` (with background), `channels` (per level, finest first), `in_channels`, `subpixel`."""
    try:
        in_channels, subpixel = int(parameters.get("in_channels", 1)), int(parameters.get("subpixel", 1))
        classes, channels = int(parameters["classes"]), [int(width) for width in parameters["channels"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"phantom-unet needs `classes` and `channels`: {error}.") from error
    if classes < 2 or len(channels) < 2 or min(channels) < 1:
        raise ModelError(f"phantom-unet needs 2 classes and 2 levels at least, not {classes} and {channels}.")
    if subpixel < 1:
        raise ModelError(f"phantom-unet needs a `subpixel` of 1 at least, not {subpixel}.")
    return PhantomUNet(classes=classes, channels=channels, in_channels=in_channels, subpixel=subpixel)


def as_dynunet(
    parameters: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return MONAI's DynUNet and its weights that give the same answers; raise ModelError for fewer than three levels.

    Of a network that takes each voxel by itself: with `subpixel` there is none.
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


def _as_channels(image: torch.Tensor, side: int) -> torch.Tensor:
    """Return (n, channels * side * side, z, y / side, x / side) of (n, channels, z, y, x)."""
    n, channels, z, y, x = image.shape
    blocks = image.reshape(n, channels, z, y // side, side, x // side, side)
    return blocks.permute(0, 1, 4, 6, 2, 3, 5).reshape(n, channels * side * side, z, y // side, x // side)


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
