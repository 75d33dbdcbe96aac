"""Dice that asks more of labels with a long border: half of the loss of SAMIHS (Wang et al., arXiv 2311.08190).

Of a label with S voxels, C of them on its border within the slice, a = min(2 (1 - C/S) - 1, 0.8); the loss is (p2 + g2
- 2 I) / (p2 + g2 - (1 + a) I) for squared sums p2, g2 of answer and truth and their overlap I. The other half is
cross-entropy in which a labelled voxel weighs 2. Deviation: over all slices of the batch at once, and only of labels
that the batch holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_LABEL_WEIGHT = 2.0
_MOST = 0.8
_EVERYWHERE = (0, 2, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryLoss:
    """Over (n, classes, a, b, c) logits and (n, a, b, c) labels."""

    slice_axis: int  # of the labels: which of 1, 2, 3 runs from slice to slice

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return half cross-entropy, half boundary loss."""
        weight = torch.full((logits.shape[1],), _LABEL_WEIGHT, device=logits.device)
        weight[0] = 1.0
        loss = 0.5 * functional.cross_entropy(logits, labels, weight=weight)
        said = logits.softmax(dim=1)[:, 1:]
        truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(said.dtype)
        area = truth.sum(_EVERYWHERE)
        present = area > 0
        if not bool(present.any()):
            return loss
        border = area - self._inside(truth).sum(_EVERYWHERE)
        asks = (2 * (1 - border / area.clamp(min=1)) - 1).clamp(max=_MOST)
        overlap, size = (said * truth).sum(_EVERYWHERE), (said.square() + truth).sum(_EVERYWHERE)
        return loss + 0.5 * ((size - 2 * overlap) / (size - (1 + asks) * overlap))[present].mean()

    def _inside(self, truth: Tensor) -> Tensor:
        """Return the voxels whose four neighbours in the slice have the label too; beyond the patch nothing has."""
        inside = truth
        for axis in (2, 3, 4):
            if axis == self.slice_axis + 1:
                continue
            edge = torch.zeros_like(truth.narrow(axis, 0, 1))
            wide, length = torch.cat([edge, truth, edge], dim=axis), truth.shape[axis]
            inside = inside * wide.narrow(axis, 0, length) * wide.narrow(axis, 2, length)
        return inside
