"""A cascade: a 2D U-Net over slices finds blood, a 3D U-Net sees the scan and what the first one said.

System: Qayyum (2D to 3D pipeline, CQ500), of which the surveys say no more. The probabilities of the first stage are
further input channels of the second. Both are trained at once, each by its own answer: no gradient passes from the
second to the first, so the first stays what it would be alone. MONAI's BasicUNet, and the 3D U-Net of this package.
Deviations: their two networks and their joining are not described; 38.95 million parameters at the defaults cannot be
checked. y and x must be multiples of 16 and of 2**(L-1), z of 2**(L-2), with L levels in 3D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.networks.answer import Answer
from models.networks.unet_2d import build_unet_2d
from models.networks.unet_3d import build_unet_3d

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class CascadeUNet(nn.Module):
    """(batch, channels, z, y, x) to (batch, classes, z, y, x) logits, while training with the first stage's."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, image: Tensor) -> Tensor | Answer:
        """Return the second stage's logits."""
        said = self.first(image)
        blood = said.detach().softmax(dim=1)[:, 1:].to(image.dtype)
        logits: Tensor = self.second(torch.cat([image, blood], dim=1))
        return Answer(logits=logits, auxiliary=(said,)) if self.training else logits


def build_cascade_unet(parameters: Mapping[str, Any]) -> CascadeUNet:
    """Build it untrained: `in_channels` (1), `classes` (2), `features` (2D, six), `filters` (3D), `beside` (0)."""
    in_channels, classes = int(parameters.get("in_channels", 1)), int(parameters.get("classes", 2))
    first = {key: parameters[key] for key in ("features", "beside") if key in parameters}
    second = {key: parameters[key] for key in ("filters",) if key in parameters}
    return CascadeUNet(
        build_unet_2d({**first, "in_channels": in_channels, "classes": classes}),
        build_unet_3d({**second, "in_channels": in_channels + classes - 1, "classes": classes, "supervised": 0}),
    )
