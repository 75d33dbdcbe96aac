"""Context restoration: places of a patch are exchanged, and the network puts them back (Chen et al. 2019; Spahr 2023).

Published: ten exchanges of squares of 10 to 30 pixels, turned, mean squared error. In a patch of several slices a
square goes through all of them, or a neighbouring slice would give the answer away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from models.training.pretraining.features import as_volume

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.training.patches import Patches
    from models.training.pretraining.features import Taps
    from models.training.pretraining.material import Material

_EXCHANGES = 10
_LEAST, _MOST = 10, 30  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """The task; its head gives the image from what the network's last layer sees."""

    taps: Taps
    patches: Patches
    head: nn.Module

    @classmethod
    def of(cls, taps: Taps, patches: Patches) -> Restoration:
        """Make the task."""
        return cls(taps=taps, patches=patches, head=nn.Conv3d(taps.last_channels, 1, 1))

    def loss(self, material: Material, random: np.random.Generator, device: torch.device) -> torch.Tensor:
        """Return the loss of one batch."""
        broken, whole = [], []
        for _ in range(self.patches.batch):
            sample = material.samples[int(random.integers(len(material.samples)))]
            hu, _ = self.patches.cut(sample, self.patches.corner(sample, random))
            hu = self.patches.changed(hu, random)
            whole.append(self.patches.preparation.tensor(hu[0]))
            broken.append(self.patches.preparation.tensor(exchanged(hu[0], random), *hu[1:]))
        image, wanted = torch.cat(broken).to(device), torch.cat(whole).to(device)
        _, features = self.taps.hear(image)
        restored = self.head(as_volume(features, len(image)).float())
        if restored.shape[2:] != wanted.shape[2:]:
            restored = nn.functional.interpolate(restored, size=wanted.shape[2:], mode="trilinear")
        return nn.functional.mse_loss(restored, wanted)


def exchanged(hu_zyx: npt.NDArray[np.float32], random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a copy in which squares changed places, each turned by a quarter or more; they may overlap."""
    out = hu_zyx.copy()
    _, rows, columns = out.shape
    most = min(_MOST, rows // 2, columns // 2)
    for _ in range(_EXCHANGES):
        side = int(random.integers(min(_LEAST, most), most + 1))
        (y0, x0), (y1, x1) = (
            (int(random.integers(rows - side + 1)), int(random.integers(columns - side + 1))) for _ in range(2)
        )
        turns = int(random.integers(4))
        one = np.rot90(out[:, y0 : y0 + side, x0 : x0 + side], turns, axes=(1, 2)).copy()
        out[:, y0 : y0 + side, x0 : x0 + side] = np.rot90(out[:, y1 : y1 + side, x1 : x1 + side], turns, axes=(1, 2))
        out[:, y1 : y1 + side, x1 : x1 + side] = one
    return out
