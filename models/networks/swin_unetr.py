"""SwinUNETR, the Transformer baseline of 3D segmentation.

Paper: Hatamizadeh et al., arXiv 2201.01266; no haemorrhage system of its own. MONAI's class, untrained: no pretrained
weights are fetched. 62.19 million parameters at feature size 48 (one channel, two classes), as MONAI's tutorial counts.
Sides must be multiples of 32, and one of them larger than 32 while training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monai.networks.nets.swin_unetr import SwinUNETR

if TYPE_CHECKING:
    from collections.abc import Mapping


def build_swin_unetr(parameters: Mapping[str, Any]) -> SwinUNETR:
    """Build it with untrained weights: `in_channels` (1), `classes` (2), `features` (48), `depths`, `heads`."""
    return SwinUNETR(**swin_unetr_arguments(parameters))


def swin_unetr_arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MONAI's SwinUNETR is told."""
    return {
        "in_channels": int(parameters.get("in_channels", 1)),
        "out_channels": int(parameters.get("classes", 2)),
        "feature_size": int(parameters.get("features", 48)),
        "depths": tuple(parameters.get("depths", (2, 2, 2, 2))),
        "num_heads": tuple(parameters.get("heads", (3, 6, 12, 24))),
        "spatial_dims": 3,
    }
