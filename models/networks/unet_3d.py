"""A plain 3D U-Net as nnU-Net plans it for thick head CT slices, trained here rather than brought.

Paper: Isensee et al., Nature Methods 2021;18:203 (used on haemorrhage by Zhao 2021). MONAI's DynUNet with nnU-Net's
blocks: two convolutions a level, instance norm, leaky ReLU 0.01, deep supervision. The finest level neither convolves
across slices nor halves their number. Deviations: the plan is fixed here, nnU-Net makes one for each data set; its own
results come in by `ichor models add`. 31.16 million parameters at the default filters (one channel, two classes).
With L levels z must be a multiple of 2**(L-2), y and x of 2**(L-1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monai.networks.nets.dynunet import DynUNet

if TYPE_CHECKING:
    from collections.abc import Mapping

FILTERS = (32, 64, 128, 256, 320, 320)


def build_unet_3d(parameters: Mapping[str, Any]) -> DynUNet:
    """Build it with untrained weights: `in_channels` (1), `classes` (2), `filters` (a level each), `supervised` (2).

    While training it answers (batch, 1 + supervised, classes, z, y, x), the first the full result; else that one alone.
    """
    return DynUNet(**unet_3d_arguments(parameters))


def unet_3d_arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MONAI's DynUNet is told."""
    filters = tuple(int(width) for width in parameters.get("filters", FILTERS))
    if len(filters) < 3:
        raise ValueError("unet-3d has three levels at least")
    supervised = int(parameters.get("supervised", min(2, len(filters) - 2)))
    strides = [(1, 1, 1), (1, 2, 2), *[(2, 2, 2)] * (len(filters) - 2)]
    return {
        "spatial_dims": 3,
        "in_channels": int(parameters.get("in_channels", 1)),
        "out_channels": int(parameters.get("classes", 2)),
        "kernel_size": [(1, 3, 3), *[(3, 3, 3)] * (len(filters) - 1)],
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": filters,
        "norm_name": ("INSTANCE", {"affine": True}),
        "act_name": ("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
        "deep_supervision": supervised > 0,
        "deep_supr_num": max(supervised, 1),
    }
