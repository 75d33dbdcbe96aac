"""Contrastive pre-training: two looks at a patch must resemble each other more than any other patch (Spahr 2023).

Global: InfoNCE at temperature 0.1 over a head of 512 and 128 on the coarsest level, between looks that differ in crop,
side, contrast, brightness and blur. Local (Chaitanya et al. 2020), besides: 20 regions of 3 x 3 pixels of what the last
layer sees, through convolutions to 128 and 32; the same region of a look without crop is the partner, the others of the
patch are not. Deviations: Chaitanya trains encoder and decoder one after the other, and part of the decoder; here both
losses are added, and the local one reaches the whole network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from models.segmenter import OUTSIDE_HU
from models.training.pretraining.features import as_volume, of_patch

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.training.patches import Patches
    from models.training.pretraining.features import Taps
    from models.training.pretraining.material import Material

TEMPERATURE = 0.1
_REGIONS, _REGION = 20, 3
_CROP = 0.25  # of a side: how far two crops may lie apart
_CONTRAST, _BRIGHTNESS_HU, _BLUR_PIXELS = 0.2, 10.0, 1.0
_PIVOT_HU = 35.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The task, global alone or local besides; the heads are dropped afterwards."""

    taps: Taps
    patches: Patches
    slice_axis: int
    local: bool
    head: nn.ModuleDict

    @classmethod
    def of(cls, taps: Taps, patches: Patches, *, slice_axis: int, local: bool) -> Contrast:
        """Make the task."""
        heads: dict[str, nn.Module] = {
            "global": nn.Sequential(nn.Linear(taps.deepest_channels, 512), nn.ReLU(), nn.Linear(512, 128))
        }
        if local:
            heads["local"] = nn.Sequential(
                nn.Conv3d(taps.last_channels, 128, 1), nn.ReLU(), nn.Conv3d(128, 32, 1, bias=False)
            )
        return cls(taps=taps, patches=patches, slice_axis=slice_axis, local=local, head=nn.ModuleDict(heads))

    def loss(self, material: Material, random: np.random.Generator, device: torch.device) -> Tensor:
        """Return the loss of one batch."""
        looks: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for _ in range(self.patches.batch):
            sample = material.samples[int(random.integers(len(material.samples)))]
            corner = self.patches.corner(sample, random)
            hu, _ = self.patches.cut(sample, corner)
            beside, _ = self.patches.cut(sample, self._beside(corner, sample.labels_zyx.shape, random))
            if random.random() < 0.5:
                beside = beside[..., ::-1]
            for look, one in zip(looks, (hu, beside, hu), strict=True):
                look.append(self.patches.preparation.tensor(*_other_scanner(one, random)))
        first, second, third = (torch.cat(look).to(device) for look in looks)
        deep_beside, _ = self.taps.hear_both(second)
        deep, fine = self.taps.hear_both(first)
        count = len(first)
        to_vectors = self.head["global"]
        loss = info_nce(to_vectors(of_patch(deep, count).float()), to_vectors(of_patch(deep_beside, count).float()))
        if not self.local:
            return loss
        _, again = self.taps.hear(third)
        regions, partners = (self.head["local"](as_volume(one, count).float()) for one in (fine, again))
        places = self._regions(regions.shape[2:], random)
        local = [
            info_nce(self._vectors(one, places), self._vectors(other, places))
            for one, other in zip(regions, partners, strict=True)
        ]
        return loss + torch.stack(local).mean()

    def _beside(self, corner: list[int], shape: tuple[int, ...], random: np.random.Generator) -> list[int]:
        return [
            int(np.clip(at + random.integers(-int(_CROP * side), int(_CROP * side) + 1), 0, max(0, length - side)))
            for at, side, length in zip(corner, self.patches.sides_zyx, shape, strict=True)
        ]

    def _regions(self, sides: torch.Size, random: np.random.Generator) -> list[tuple[slice, ...]]:
        """Return where the regions lie in (a, b, c): one slice thick, 3 x 3 within it."""
        sizes = [1 if axis + 1 == self.slice_axis else min(_REGION, sides[axis]) for axis in range(3)]
        starts = [random.integers(0, side - size + 1, _REGIONS) for side, size in zip(sides, sizes, strict=True)]
        return [
            tuple(slice(int(start), int(start) + size) for start, size in zip(one, sizes, strict=True))
            for one in zip(*starts, strict=True)
        ]

    def _vectors(self, features: Tensor, places: list[tuple[slice, ...]]) -> Tensor:
        """Return (regions, channels) of one patch's (channels, a, b, c)."""
        return torch.stack([features[(slice(None), *place)].flatten(1).mean(dim=1) for place in places])


def info_nce(one: Tensor, other: Tensor) -> Tensor:
    """Return the loss of (n, channels) vectors whose partners stand in the same row; all others are strangers."""
    vectors = nn.functional.normalize(torch.cat([one, other]), dim=1)
    alike = vectors @ vectors.T / TEMPERATURE
    alike = alike.masked_fill(torch.eye(len(vectors), dtype=torch.bool, device=alike.device), float("-inf"))
    count = len(one)
    partner = torch.cat([torch.arange(count, 2 * count), torch.arange(count)]).to(alike.device)
    return nn.functional.cross_entropy(alike, partner)


def _other_scanner(hu: npt.NDArray[np.float32], random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the patch (views, z, y, x) with other contrast, brightness and sharpness; outside the scan stays air."""
    contrast = np.float32(random.uniform(1 - _CONTRAST, 1 + _CONTRAST))
    brightness = np.float32(random.uniform(-_BRIGHTNESS_HU, _BRIGHTNESS_HU))
    blur = float(random.uniform(0, _BLUR_PIXELS))
    changed = gaussian_filter((hu - _PIVOT_HU) * contrast + _PIVOT_HU + brightness, (0, 0, blur, blur))
    kept: npt.NDArray[np.float32] = np.where(hu > OUTSIDE_HU + 1, changed, np.float32(OUTSIDE_HU)).astype(np.float32)
    return kept
