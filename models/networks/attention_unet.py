"""A 3D U-Net whose skips pass through attention gates.

Paper: Oktay et al., arXiv 1804.03999; on haemorrhage by Zhang (attention 3D U-Net), of which the surveys say no more.
MONAI's AttentionUnet. Deviations: the finest step halves y and x only, for thick slices; without deep supervision.
23.63 million parameters at the default channels (one channel, two classes). With L levels z must be a multiple of
2**(L-2), y and x of 2**(L-1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monai.networks.nets.attentionunet import AttentionUnet

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANNELS = (32, 64, 128, 256, 512)


def build_attention_unet(parameters: Mapping[str, Any]) -> AttentionUnet:
    """Build it with untrained weights: `in_channels` (1), `classes` (2), `channels` (a level each), `dropout` (0)."""
    return AttentionUnet(**attention_unet_arguments(parameters))


def attention_unet_arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MONAI's AttentionUnet is told."""
    channels = tuple(int(width) for width in parameters.get("channels", CHANNELS))
    return {
        "spatial_dims": 3,
        "in_channels": int(parameters.get("in_channels", 1)),
        "out_channels": int(parameters.get("classes", 2)),
        "channels": channels,
        "strides": [(1, 2, 2), *[(2, 2, 2)] * (len(channels) - 2)],
        "dropout": float(parameters.get("dropout", 0.0)),
    }
