"""The 3D U-Net that stood beside Viola-UNet at INSTANCE 2022 ("nnU-Net-r"): residual blocks, seven levels.

Paper: Liu et al., arXiv 2208.06313 (topology of the published configuration). Composed of MONAI's DynUNet. With three
input channels (HU windows), two classes and four supervised levels it has the published 22.01 million parameters.
Deviations: none known. Input sides must be multiples of 32, 32 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monai.networks.nets.dynunet import DynUNet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KERNELS = ((3, 3, 1),) * 3 + ((3, 3, 3),) * 4
STRIDES = ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1), (1, 1, 1))
FILTERS = (32, 64, 96, 128, 192, 256, 320)
PUBLISHED_PARAMETERS = 22.01e6


def build_dynunet_r(parameters: Mapping[str, Any]) -> DynUNet:
    """Build it untrained: `in_channels` (3), `classes` (2), `filters`, `supervised` (4), `dropout` (0.2).

    While training it answers (batch, 1 + supervised, classes, i, j, k), the first the full result; else that one alone.
    """
    return DynUNet(**dynunet_r_arguments(parameters))


def dynunet_r_arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MONAI's DynUNet is told."""
    filters: Sequence[int] = parameters.get("filters", FILTERS)
    supervised = int(parameters.get("supervised", 4))
    return {
        "spatial_dims": 3,
        "in_channels": int(parameters.get("in_channels", 3)),
        "out_channels": int(parameters.get("classes", 2)),
        "kernel_size": KERNELS,
        "strides": STRIDES,
        "upsample_kernel_size": STRIDES[1:],
        "filters": filters,
        "norm_name": ("BATCH", {"affine": True}),
        "act_name": ("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
        "dropout": float(parameters.get("dropout", 0.2)),
        "deep_supervision": supervised > 0,
        "deep_supr_num": max(supervised, 1),
        "res_block": True,
    }
