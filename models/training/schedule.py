"""The learning rate of a step: a straight rise, then half a cosine down to nothing."""

from __future__ import annotations

import math
from typing import Protocol

_WARM_UP = 0.15  # share of the steps in which the learning rate rises


class Budget(Protocol):
    """What a recipe says of a training or a pre-training."""

    @property
    def steps(self) -> int:
        """Return the steps of the optimiser."""

    @property
    def learning_rate(self) -> float:
        """Return the highest rate."""


def learning_rate_at(step: int, how: Budget) -> float:
    """Return the rate of a step, counted from 1."""
    rise = max(1, round(_WARM_UP * how.steps))
    if step <= rise:
        return how.learning_rate * step / rise
    return how.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (how.steps + 1 - rise)))
