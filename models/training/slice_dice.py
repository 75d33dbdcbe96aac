"""Dice slice by slice, where slices without the label weigh less: Spahr et al., Front Neuroimaging 2023;2:1157565.

Most slices of a scan hold no blood. With equal weights they drown those that do; left out, nothing teaches the network
to stay silent. Squared Dice with 1 voxel of smoothing, so that an empty slice asks for no marks at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_SMOOTH = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceDice:
    """Over (n, classes, a, b, c) logits and (n, a, b, c) labels; background is no label."""

    empty_weight: float  # of a slice without the label; one with it weighs 1. The paper's alpha is 0.2
    slice_axis: int  # of the labels: which of 1, 2, 3 runs from slice to slice

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted mean over slices and labels."""
        said = logits.softmax(dim=1)[:, 1:]
        truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(said.dtype)
        in_slice = [axis for axis in (2, 3, 4) if axis != self.slice_axis + 1]
        overlap, size = (said * truth).sum(in_slice), (said.square() + truth).sum(in_slice)
        loss = 1 - (2 * overlap + _SMOOTH) / (size + _SMOOTH)
        weight = torch.where(truth.sum(in_slice) > 0, 1.0, self.empty_weight)
        return (weight * loss).sum() / weight.sum()
