"""The engine for classifiers of slices whose maps are the segmentation: HGI-SAM, Swin-SAM or GradCAM.

Every plane of the grid is classified. Where a plane shows blood with a probability of at least one half, its map is
drawn, cut with the eroded brain, scaled to 0 to 1 and compared with the spec's threshold, which was chosen on
validation scans. What is marked has a probability from one half up to the plane's own; what is not marked, less. On
planes that show none it is 0.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ichor.errors import ModelError
from models.brain import eroded_brain
from models.engines.memory import Descent, is_out_of_memory, ladder
from models.engines.slice_view import SliceView
from models.networks.attention_maps import MAP_KINDS, MapKind, look, scaled
from models.segmenter import Plan, Segmentation
from models.tissue import intracranial_tissue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from models.engines.memory import Rung
    from models.networks.swin_classifier import SwinClassifier
    from models.segmenter import HeadGrid
    from models.spec import ModelSpec

ENGINE = "slice-maps-1"
SHOWS_BLOOD = 0.5
"""Probability from which a plane shows blood: what the classifier was trained to say, tuned by nobody."""

_PLANES = 16  # at once
_JUST = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadMaps:
    """A head as one classifier sees it."""

    probability_z: npt.NDArray[np.float32]  # that a plane shows any blood
    maps: Mapping[MapKind, npt.NDArray[np.float32]]  # (z, y, x), 0 to 1; 0 on planes that show none


def head_maps(
    classifier: SwinClassifier, view: SliceView, grid: HeadGrid, kinds: Sequence[MapKind], rung: Rung
) -> HeadMaps:
    """Classify every plane and draw the maps of those that show blood."""
    intracranial = intracranial_tissue(grid)
    square = view.square(intracranial)
    hu = torch.from_numpy(view.hu(grid, square))
    with torch.no_grad():
        said = [
            torch.sigmoid(classifier(view.image(part.to(rung.device)))[:, 0].float()).cpu()
            for part in torch.split(hu, rung.batch)
        ]
    probability = torch.cat(said)
    shows = torch.nonzero(probability >= SHOWS_BLOOD)[:, 0]
    maps = {kind: np.zeros(grid.hu_zyx.shape, dtype=np.float32) for kind in kinds}
    if len(shows):
        brain = torch.from_numpy(square.cut(eroded_brain(grid, intracranial).astype(np.float32), outside=0.0))
        for planes in torch.split(shows, rung.batch):
            looked = look(classifier, view.image(hu[planes].to(rung.device)), kinds)
            for kind in kinds:
                cut = scaled(looked.maps[kind].cpu() * brain[planes]).numpy()
                pasted = np.zeros((len(planes), *grid.hu_zyx.shape[1:]), dtype=np.float32)
                square.paste(cut, pasted)
                maps[kind][planes.numpy()] = pasted
    return HeadMaps(probability_z=probability.numpy(), maps=maps)


def blood_of(
    map_zyx: npt.NDArray[np.float32], probability_z: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.float32]:
    """Turn a map into the probability of blood: above the threshold from one half to the plane's, below it less."""
    top = np.maximum(probability_z, SHOWS_BLOOD)[:, None, None]
    above = SHOWS_BLOOD + (top - SHOWS_BLOOD) * (map_zyx - threshold) / (1 - threshold)
    below = SHOWS_BLOOD * map_zyx / threshold
    # what lies above the threshold wins, however unsure the plane is
    blood = np.where(map_zyx > threshold, np.maximum(above, SHOWS_BLOOD + _JUST), below)
    return blood.astype(np.float32)


class SliceMapSegmenter:
    """Implements `models.segmenter.Segmenter`."""

    def __init__(
        self, spec: ModelSpec, classifiers: Sequence[SwinClassifier], *, members: tuple[int, ...], device: torch.device
    ) -> None:
        self.spec = spec
        self.plan = Plan(model=spec.name, model_digest=spec.digest, members=members, precision="float32", engine=ENGINE)
        self.device = str(device)
        self._classifiers = tuple(classifiers)
        self._view = SliceView.from_parameters(spec.parameters)
        self._kind, self._threshold = _map_of(spec)
        self._rungs = tuple(
            rung for rung in ladder(device, batch=_PLANES, shrinks=()) if rung.step != "stitched on the CPU"
        )
        if any(one.side != self._view.side for one in classifiers):
            raise ModelError(f"The network of {spec.name} does not take squares of {self._view.side} pixels.")

    def warm(self) -> None:
        """Look at one empty slice with every member."""
        side = self._view.side
        empty = self._view.image(torch.zeros(1, side, side, device=self._rungs[0].device))
        for classifier in self._classifiers:
            try:
                look(classifier, empty, [self._kind])
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                why = str(error).splitlines()[0]
                raise ModelError(f"The network of {self.spec.name} cannot take its slices: {why}") from error

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment a head; raise ModelError where the grid's spacing is not the spec's."""
        if not np.allclose(grid.spacing_zyx_mm, self.spec.spacing_zyx_mm, atol=1e-3):
            raise ModelError(
                f"Model {self.spec.name} needs a grid of {self.spec.spacing_zyx_mm} mm, not {grid.spacing_zyx_mm} mm."
            )
        shape = grid.hu_zyx.shape
        blood = np.zeros(shape, dtype=np.float32)
        member_labels = np.zeros((len(self._classifiers), *shape), dtype=np.uint8)
        seconds = []
        descent = Descent(self._rungs)
        for number, classifier in enumerate(self._classifiers):
            started = time.perf_counter()
            found = descent.run(partial(self._maps, classifier, grid))
            said = blood_of(found.maps[self._kind], found.probability_z, self._threshold)
            member_labels[number] = said > SHOWS_BLOOD
            blood += (said - blood) / (number + 1)
            seconds.append(time.perf_counter() - started)
            if on_progress is not None:
                on_progress((number + 1) / len(self._classifiers))
        return Segmentation(
            probabilities_czyx=np.stack([1 - blood, blood]),
            member_labels_mzyx=member_labels,
            voxel_ml=math.prod(grid.spacing_zyx_mm) / 1000.0,
            plan=self.plan,
            device=str(descent.rung.device),
            seconds_per_member=tuple(seconds),
            fallbacks=descent.steps,
        )

    def _maps(self, classifier: SwinClassifier, grid: HeadGrid, rung: Rung) -> HeadMaps:
        with torch.backends.cudnn.flags(allow_tf32=False):
            return head_maps(classifier.to(rung.device), self._view, grid, [self._kind], rung)


def _map_of(spec: ModelSpec) -> tuple[MapKind, float]:
    """Return which map a spec wants, and its threshold."""
    kind = next((one for one in MAP_KINDS if one == spec.parameters.get("map")), None)
    if kind is None:
        raise ModelError(f"The spec's parameter map must be one of {', '.join(MAP_KINDS)}.")
    threshold = spec.parameters.get("threshold")
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise ModelError(f"The spec's parameter threshold must lie between 0 and 1, not {threshold!r}.")
    if len(spec.labels) != 1:
        raise ModelError(f"A map of {spec.name} marks one label, not {len(spec.labels)}.")
    return kind, threshold
