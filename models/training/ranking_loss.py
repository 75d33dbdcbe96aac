"""Learning to rank with hard negatives: blood must score above the background that looks most like it.

After Gong's nnU-Net with a ranking module (gain on lesions below 1 mL); pairs, margin and weight are not published and
are ours. In every patch each drawn blood voxel is held against the highest background voxels, by their log-odds of
blood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

MOST = 256  # voxels on either side of the pairs of a patch


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingLoss:
    """Over (n, classes, a, b, c) logits and (n, a, b, c) labels; nothing where a patch has no pair."""

    blood: tuple[int, ...]  # channels that count as haemorrhage; all others are background here
    margin: float = 1.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over patches with blood."""
        blood = torch.tensor(self.blood, device=logits.device)
        rest = torch.tensor([one for one in range(logits.shape[1]) if one not in self.blood], device=logits.device)
        odds = logits[:, blood].logsumexp(dim=1) - logits[:, rest].logsumexp(dim=1)
        truth = torch.isin(labels, blood)
        losses = [
            self._of_patch(scores[marked], scores[~marked])
            for scores, marked in zip(odds.flatten(1), truth.flatten(1), strict=True)
            if bool(marked.any()) and not bool(marked.all())
        ]
        return torch.stack(losses).mean() if losses else odds.sum() * 0

    def _of_patch(self, blood: Tensor, background: Tensor) -> Tensor:
        if len(blood) > MOST:
            blood = blood[torch.randperm(len(blood))[:MOST].to(blood.device)]  # torch's chance follows from the step
        hardest = background.topk(min(MOST, len(background))).values
        return (self.margin - (blood[:, None] - hardest[None, :])).relu().mean()
