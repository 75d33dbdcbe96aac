"""Whether what a network says of a voxel depends on how much it is shown beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd

if TYPE_CHECKING:
    from models.training.recipe import ModelRecipe

_OVER_ALL = (_InstanceNorm, nn.GroupNorm, _AdaptiveAvgPoolNd)
"""Layers that reckon with a mean over all that is seen at once."""


def served_otherwise(network: nn.Module, model: ModelRecipe) -> bool:
    """Return whether it is served with windows of other sides than the patches it learns on, and that changes answers.

    Instance and group norm and squeeze-and-excitation take the mean over a patch, which is often laid round a lesion;
    over a window of half a head it is another.
    """
    as_taught = model.window is None or model.window == model.patch
    return not as_taught and any(isinstance(one, _OVER_ALL) for one in network.modules())
