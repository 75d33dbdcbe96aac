"""Weak pre-training: what is on a slice, from labels of slices alone (Spahr 2023).

The encoder's coarsest level, averaged slice by slice, goes through a head of 1024 and 256 to one sigmoid, any
haemorrhage, or to one for each type besides. Patches show slices as wide as they can, from the middle: a slice's label
is of all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from models.training.pretraining.features import of_slices

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.training.patches import Patches
    from models.training.pretraining.features import Taps
    from models.training.pretraining.material import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The task; the head is dropped afterwards."""

    taps: Taps
    patches: Patches
    slice_axis: int
    reversed_slices: bool  # whether the network's slices run from head to foot
    head: nn.Module
    kinds: int

    @classmethod
    def of(cls, taps: Taps, patches: Patches, *, slice_axis: int, kinds: int) -> Classification:
        """Make the task for the first `kinds` of the material's marks."""
        head = nn.Sequential(
            nn.Linear(taps.deepest_channels, 1024), nn.ReLU(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, kinds)
        )
        return cls(
            taps=taps,
            patches=patches,
            slice_axis=slice_axis,
            reversed_slices="I" in patches.preparation.orientation,
            head=head,
            kinds=kinds,
        )

    def loss(self, material: Material, random: np.random.Generator, device: torch.device) -> Tensor:
        """Return the loss of one batch: slices beyond a scan's end do not count."""
        images, wanted, there = [], [], []
        depth = self.patches.sides_zyx[0]
        for _ in range(self.patches.batch):
            number = int(random.integers(len(material.samples)))
            sample, marks = material.samples[number], material.marks_zc[number][:, : self.kinds]
            start = self._start(marks[:, 0], depth, random)
            middle = [
                max(0, (length - side) // 2)
                for length, side in zip(sample.labels_zyx.shape[1:], self.patches.sides_zyx[1:], strict=True)
            ]
            hu, _ = self.patches.cut(sample, [start, *middle])
            hu = self.patches.changed(hu, random)
            if random.random() < self.patches.augmentation.mirror:
                hu = hu[..., ::-1]
            images.append(self.patches.preparation.tensor(*hu))
            said = marks[start : start + depth]
            padding = depth - len(said)
            wanted.append(np.pad(said, ((0, padding), (0, 0))).astype(np.float32))
            there.append(np.pad(np.ones(len(said), dtype=np.float32), (0, padding)))
        truth, weight = torch.from_numpy(np.stack(wanted)).to(device), torch.from_numpy(np.stack(there)).to(device)
        deep, _ = self.taps.hear_both(torch.cat(images).to(device))
        logits = self.head(of_slices(deep, len(images), depth, self.slice_axis).float())
        if self.reversed_slices:
            logits = logits.flip(1)
        each = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=2)
        return (each * weight).sum() / weight.sum()

    def _start(self, any_blood: npt.NDArray[np.bool_], depth: int, random: np.random.Generator) -> int:
        """Return the first slice: round one with blood as often as the recipe says, or anywhere."""
        top = max(0, len(any_blood) - depth)
        found = np.flatnonzero(any_blood)
        if len(found) and random.random() < self.patches.on_lesion:
            at = int(found[int(random.integers(len(found)))])
            return int(np.clip(at - random.integers(depth), 0, top))
        return int(random.integers(top + 1))
