"""What a network says while it trains, where that is more than one logit for each voxel and class.

The trainer's loss weighs all of it; in evaluation a network answers with `logits` alone, so that it is served like any
other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One network's answer in training; a network over slices has no axis `a` until its slices are joined."""

    logits: Tensor  # (batch, classes, a, b, c): what it is served for
    auxiliary: tuple[Tensor, ...] = ()  # further answers of that size, weighed 1/2, 1/4, ...: deep supervision, stages
    presence: Tensor | None = None  # (batch, a or 1, classes - 1) logits: does this slice, or the patch, hold the label

    def float(self) -> Answer:
        """Return the same in float32, as a loss needs it after mixed precision."""
        return Answer(
            logits=self.logits.float(),
            auxiliary=tuple(one.float() for one in self.auxiliary),
            presence=None if self.presence is None else self.presence.float(),
        )

    def joined(self, batch: int) -> Answer:
        """Return the answer for volumes of one for their slices, which follow one another in the batch."""
        return Answer(
            logits=joined_slices(self.logits, batch),
            auxiliary=tuple(joined_slices(one, batch) for one in self.auxiliary),
            presence=None if self.presence is None else self.presence.reshape(batch, -1, self.presence.shape[-1]),
        )


def joined_slices(logits: Tensor, batch: int) -> Tensor:
    """Return (batch, classes, z, y, x) of (batch * z, classes, y, x)."""
    slices, classes, y, x = logits.shape
    return logits.reshape(batch, slices // batch, classes, y, x).transpose(1, 2)
