"""Slices for one step of a classifier's training: chosen, changed, and cut as the engine cuts them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.engines.slice_view import SliceView
from models.segmenter import OUTSIDE_HU
from models.tissue import intracranial_tissue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.training.slice_recipe import SliceAugmentation, SliceRecipe
    from models.training.slice_sample import SliceSample

_PIVOT_HU = 35.0  # brain: contrast changes leave it where it is
_BLOOD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planes:
    """All planes of some scans, cut out as the engine cuts them."""

    view: SliceView
    hu: Tensor  # (planes, side, side), float16
    targets: Tensor  # (planes, outputs)

    @classmethod
    def of(cls, recipe: SliceRecipe, samples: Sequence[SliceSample]) -> Planes:
        """Cut every plane out."""
        view, side = view_of(recipe), recipe.classifier.side
        hu, targets = [torch.empty(0, side, side, dtype=torch.float16)], [torch.empty(0, len(recipe.outputs))]
        for sample in samples:
            grid = sample.grid(recipe.classifier.spacing_zyx_mm)
            cut = view.hu(grid, view.square(intracranial_tissue(grid)))
            hu.append(torch.from_numpy(cut.astype(np.float16)))
            targets.append(torch.from_numpy(np.array(sample.targets_zo[:, : len(recipe.outputs)])))
        return cls(view=view, hu=torch.cat(hu), targets=torch.cat(targets))

    @property
    def show_blood(self) -> npt.NDArray[np.bool_]:
        """Which planes count as planes with blood: those that are mostly slices with some."""
        shows: npt.NDArray[np.bool_] = (self.targets[:, 0] >= _BLOOD).numpy()
        return shows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceBatches:
    """Draws batches for a recipe."""

    planes: Planes
    with_blood: npt.NDArray[np.intp]
    without: npt.NDArray[np.intp]
    batch: int
    share_with_blood: float
    augmentation: SliceAugmentation

    @classmethod
    def of(cls, recipe: SliceRecipe, samples: Sequence[SliceSample]) -> SliceBatches:
        """Cut every plane of the training scans out."""
        planes = Planes.of(recipe, samples)
        return cls(
            planes=planes,
            with_blood=np.flatnonzero(planes.show_blood),
            without=np.flatnonzero(~planes.show_blood),
            batch=recipe.training.batch,
            share_with_blood=recipe.training.with_blood,
            augmentation=recipe.augmentation,
        )

    def draw(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return images (batch, windows, side, side) and targets (batch, outputs)."""
        chosen = torch.tensor([self._plane(random) for _ in range(self.batch)])
        hu = self._changed(self.planes.hu[chosen].float(), random)
        return self.planes.view.image(hu), self.planes.targets[chosen]

    def _plane(self, random: np.random.Generator) -> int:
        wanted = self.with_blood if random.random() < self.share_with_blood else self.without
        planes = wanted if len(wanted) else np.arange(len(self.planes.hu))
        return int(planes[int(random.integers(len(planes)))])

    def _changed(self, hu: Tensor, random: np.random.Generator) -> Tensor:
        """Turn, scale, shift and mirror, then change contrast, brightness and noise; air stays air."""
        how, count = self.augmentation, len(hu)

        def drawn(most: float) -> Tensor:
            return torch.from_numpy(random.uniform(-most, most, count).astype(np.float32))

        angle, scale = drawn(math.radians(how.turn_deg)), 1 + drawn(how.scale)
        mirrored = torch.from_numpy(np.where(random.random(count) < how.mirror, -1.0, 1.0).astype(np.float32))
        cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
        rows = [cosine * mirrored, -sine, 2 * drawn(how.shift), sine * mirrored, cosine, 2 * drawn(how.shift)]
        places = functional.affine_grid(
            torch.stack(rows, dim=1).reshape(count, 2, 3), [count, 1, *hu.shape[1:]], align_corners=False
        )
        # air is 0 to the sampler, which fills with 0 what comes from outside
        moved = functional.grid_sample(hu[:, None] - OUTSIDE_HU, places, align_corners=False)[:, 0] + OUTSIDE_HU
        contrast, brightness = 1 + drawn(how.contrast)[:, None, None], drawn(how.brightness_hu)[:, None, None]
        noise = torch.from_numpy(random.standard_normal(moved.shape, dtype=np.float32))
        noise = noise * torch.from_numpy(random.uniform(0, how.noise_hu, count).astype(np.float32))[:, None, None]
        changed = (moved - _PIVOT_HU) * contrast + _PIVOT_HU + brightness + noise
        return torch.where(moved > OUTSIDE_HU + 1, changed, OUTSIDE_HU)


def view_of(recipe: SliceRecipe) -> SliceView:
    """Return what a recipe's classifier sees."""
    return SliceView(side=recipe.classifier.side, hu_windows=recipe.classifier.hu_windows)
