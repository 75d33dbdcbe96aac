"""Patches for one step of a training, prepared as in service, and the chance that draws them.

All chance of a step follows from the seed and the number of the step, so that a training that was interrupted goes on
with the very patches that it would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.engines.preparation import Preparation
from models.segmenter import OUTSIDE_HU
from models.training.sample import IGNORED
from models.training.warp import Warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.training.recipe import Augmentation, Recipe
    from models.training.sample import Sample

_PIVOT_HU = 35.0  # brain: contrast changes leave it where it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Draws patches for a recipe."""

    preparation: Preparation
    sides_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    batch: int
    on_lesion: float
    augmentation: Augmentation
    warp: Warp
    loss_hu: tuple[float, float] | None

    @classmethod
    def of(cls, recipe: Recipe) -> Patches:
        """Read what the recipe says; raise ModelError for an impossible orientation."""
        model, how = recipe.model, recipe.augmentation
        preparation = Preparation.from_parameters(
            {"orientation": model.orientation, "mirror_image": model.mirror_image}, model.hu_range
        )
        z, y, x = (model.patch[preparation.axis(number)] for number in range(3))
        return cls(
            preparation=preparation,
            sides_zyx=(z, y, x),
            spacing_zyx_mm=model.spacing_zyx_mm,
            batch=recipe.training.batch,
            on_lesion=recipe.training.on_lesion,
            augmentation=how,
            warp=Warp(
                rotation_deg=how.rotation_deg,
                scaling=how.scaling,
                elastic_mm=how.elastic_mm,
                spacing_zyx_mm=model.spacing_zyx_mm,
            ),
            loss_hu=recipe.training.loss_hu,
        )

    def draw(self, samples: Sequence[Sample], random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (batch, views, a, b, c) and labels (batch, a, b, c), axes as the network has them."""
        images, labels = [], []
        for _ in range(self.batch):
            sample = samples[int(random.integers(len(samples)))]
            corner = self.corner(sample, random)
            if self.warp.moves and random.random() < self.augmentation.warped:
                hu, label = self.warp.cut(sample, corner, self.sides_zyx, random)
            else:
                hu, label = self.cut(sample, corner)
            if self.loss_hu is not None:
                low, high = self.loss_hu
                label = np.where((hu[0] >= low) & (hu[0] <= high), label, np.uint8(IGNORED))
            hu = self.changed(hu, random)
            if random.random() < self.augmentation.mirror:
                hu, label = hu[..., ::-1], label[..., ::-1]
            images.append(self.preparation.tensor(*hu))
            labels.append(torch.from_numpy(np.ascontiguousarray(self.preparation.arranged(label), dtype=np.int64)))
        return torch.cat(images), torch.stack(labels)

    def cut(self, sample: Sample, corner: Sequence[int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Return HU (views, z, y, x) and labels (z, y, x) of the patch that begins there."""
        z, y, x = (slice(start, start + size) for start, size in zip(corner, self.sides_zyx, strict=True))
        box = (z, y, x)
        shape = sample.labels_zyx.shape
        padding = [(0, max(0, size - length)) for size, length in zip(self.sides_zyx, shape, strict=True)]
        views = [np.where(sample.scanned_zyx[box], sample.hu_zyx[box].astype(np.float32), np.float32(OUTSIDE_HU))]
        if sample.plane is not None:
            views.append(sample.plane.mirrored(sample.hu_zyx, self.spacing_zyx_mm, box))
        return (
            np.stack([np.pad(view, padding, constant_values=OUTSIDE_HU) for view in views]),
            np.pad(sample.labels_zyx[box], padding),
        )

    def changed(self, hu: npt.NDArray[np.float32], random: np.random.Generator) -> npt.NDArray[np.float32]:
        """Change contrast, brightness and noise; what lies outside the scan stays air."""
        how = self.augmentation
        contrast = np.float32(random.uniform(1 - how.contrast, 1 + how.contrast))
        brightness = np.float32(random.uniform(-how.brightness_hu, how.brightness_hu))
        changed = (hu - np.float32(_PIVOT_HU)) * contrast + np.float32(_PIVOT_HU) + brightness
        changed += random.standard_normal(hu.shape, dtype=np.float32) * np.float32(random.uniform(0, how.noise_hu))
        kept: npt.NDArray[np.float32] = np.where(hu > OUTSIDE_HU + 1, changed, np.float32(OUTSIDE_HU))
        return kept

    def corner(self, sample: Sample, random: np.random.Generator) -> list[int]:
        """Return where a patch begins: round a labelled voxel, or anywhere."""
        shape = sample.labels_zyx.shape
        most = [max(0, length - size) for length, size in zip(shape, self.sides_zyx, strict=True)]
        if random.random() < self.on_lesion and sample.places:
            # a label first, so that small lesions come as often as large ones
            places = sample.places[list(sample.places)[int(random.integers(len(sample.places)))]]
            place = places[int(random.integers(len(places)))]
            return [
                int(np.clip(at - random.integers(size // 4, 3 * size // 4 + 1), 0, top))
                for at, size, top in zip(place, self.sides_zyx, most, strict=True)
            ]
        # it may reach out by half of itself and is pushed back: else what lies at the edges would hardly ever be seen
        return [
            int(np.clip(random.integers(-(size // 2), length - size // 2 + 1), 0, top))
            for length, size, top in zip(shape, self.sides_zyx, most, strict=True)
        ]


def chance(seed: int, step: int, batch: int, *purpose: int) -> np.random.Generator:
    """Return the chance of one batch, and seed torch's with it (dropout)."""
    random = np.random.default_rng((seed, step, batch, *purpose))
    torch.manual_seed(int(random.integers(2**62)))
    return random
