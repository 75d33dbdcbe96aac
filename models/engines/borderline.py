"""Voxels whose label rounding to bfloat16 could have turned: found in an ensemble's answer, to be seen in float32.

Only where blood is one of the two most probable classes: a voxel more or less of oedema changes nothing that anybody
acts upon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGIN = 0.03
"""Difference of the two most probable classes below which a label is not taken from bfloat16."""


def borderline(mean: torch.Tensor, blood: Sequence[int]) -> torch.Tensor:
    """Return (n,) bool: which rows of a mean softmax (n, classes) are too close between blood and something else."""
    (first, second), (at_first, at_second) = (two.T for two in mean.topk(2, dim=1))
    classes = torch.tensor(list(blood), device=mean.device)
    undecided: torch.Tensor = first - second < MARGIN
    undecided &= torch.isin(at_first, classes) | torch.isin(at_second, classes)
    return undecided
