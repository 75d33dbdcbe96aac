"""Viola-UNet: attention along the three axes of a volume, before every decoder block of a 3D U-Net.

Paper: Liu et al., arXiv 2208.06313 (ISBI 2023). Rebuilt from its description over MONAI's DynUNet; with three input
channels and two classes it has the published 22.12 million parameters. Deviations, where the description leaves it
open: the group norm of the tanh branch sees the three pooled axes one after another; the last normalisation divides by
the length over all voxels of a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.dynunet_r import build_dynunet_r

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monai.networks.nets.dynunet import DynUNet

PUBLISHED_PARAMETERS = 22.12e6
_STRIDES = (2, 2, 4, 4)


class DenseDilatedChannels(nn.Module):
    """Four dilated convolutions over the channel axis of a (batch, channels, length) profile, densely joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = 3 + 2 * (channels // 32)
        growth = max(channels // 16, 4) // 4 + 1
        dilations = (1, kernel, 2 * kernel - 1, 3 * kernel - 2)
        self.norm = nn.LayerNorm(channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                1 + number * growth,
                growth,
                (kernel, 1),
                stride=(stride, 1),
                padding=(dilation * (kernel - 1) // 2, 0),
                dilation=(dilation, 1),
            )
            for number, (dilation, stride) in enumerate(zip(dilations, _STRIDES, strict=True))
        )
        self.join = nn.Conv2d(1 + 4 * growth, 1, 1)

    def forward(self, profile: Tensor) -> Tensor:
        """Return a profile of the same shape."""
        seen = self.norm(profile.transpose(1, 2)).transpose(1, 2)[:, None]
        for convolution in self.convolutions:
            more = functional.interpolate(convolution(seen), size=seen.shape[2:], mode="nearest")
            seen = torch.cat([seen, more], dim=1)
        joined: Tensor = self.join(functional.silu(seen))[:, 0]
        return joined


class ViolaAttention(nn.Module):
    """Weigh every voxel of (batch, channels, i, j, k) by what its row, column and slice hold together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.profiles = nn.ModuleList(DenseDilatedChannels(channels) for _ in range(3))
        self.norm = nn.GroupNorm(2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted features."""
        pooled = [x.mean(dim=[axis for axis in (2, 3, 4) if axis != kept]) for kept in (2, 3, 4)]
        answers = [profile(one) for profile, one in zip(self.profiles, pooled, strict=True)]
        lengths = [one.shape[2] for one in answers]
        bent = torch.split(torch.tanh(self.norm(torch.cat(answers, dim=2))), lengths, dim=2)
        s_i, s_j, s_k = (_along(torch.sigmoid(one), axis) for axis, one in enumerate(answers))
        t_i, t_j, t_k = (
            _along(0.5 * (curve + torch.sigmoid(one)), axis)
            for axis, (curve, one) in enumerate(zip(bent, answers, strict=True))
        )
        joint = s_i * s_j + s_j * s_k + s_k * s_i + s_i * s_j * s_k + functional.relu(t_i + t_j + t_k)
        weight = 0.1 * joint + 0.3
        weight = weight + functional.normalize(weight.flatten(2), dim=2).view_as(weight)
        return x * weight


def build_viola_unet(parameters: Mapping[str, Any]) -> DynUNet:
    """Build it with untrained weights; parameters and answers are those of `build_dynunet_r`."""
    network = build_dynunet_r(parameters)
    for up in network.upsamples:
        # the block takes skip and upsampled features together, so their sum of channels is what attention sees
        channels = up.conv_block.conv1.conv.in_channels
        up.conv_block = nn.Sequential(ViolaAttention(channels), up.conv_block)
    return network


def _along(profile: Tensor, axis: int) -> Tensor:
    """Lay a (batch, channels, length) profile along one spatial axis."""
    shape = [*profile.shape[:2], 1, 1, 1]
    shape[2 + axis] = profile.shape[2]
    return profile.reshape(shape)
