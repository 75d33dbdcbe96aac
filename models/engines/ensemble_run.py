"""One study on its way through the members of an ensemble: the running mean, and each member's own labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from models.engines.region import Region
from models.engines.rows import WantedVoxels

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from models.engines.folded import FoldedDeepMedic
    from models.engines.memory import Rung
    from models.engines.windows import Window
    from models.segmenter import HeadGrid

    Groups = tuple[tuple[Window, ...], ...]
    """Windows that cover what is wanted; those of a group share a region."""


class EnsembleRun:
    """Sees the wanted voxels of a grid with one network after the other.

    Args:
        grid: the head.
        wanted_zyx: what is computed.
        groups: the windows for a rung of the memory ladder; they change memory and time, never the answer.
        classes: with background.
        hu_window: HU that are scaled to -1 and 1.
        on_done: hears, for the network in hand, which share of the wanted voxels is done.
    """

    def __init__(  # one argument for each thing that a run needs
        self,
        grid: HeadGrid,
        wanted_zyx: npt.NDArray[np.bool_],
        groups: Callable[[Rung], Groups],
        *,
        classes: int,
        hu_window: tuple[float, float],
        on_done: Callable[[int, float], None],
    ) -> None:
        self._grid = grid
        self._hu_window = hu_window
        self._wanted = WantedVoxels(wanted_zyx)
        self._groups = groups
        self._on_done = on_done
        self._mean = torch.zeros((self._wanted.count, classes), dtype=torch.float32)
        self._labels: list[torch.Tensor] = []
        self._regions: dict[Rung, tuple[Region, ...]] = {}

    def add(self, network: FoldedDeepMedic, rung: Rung) -> None:
        """Fold one member's softmax into the running mean, and keep its own labels.

        Where memory runs out on the way the mean is as it was: it is touched when all windows are done.
        """
        number = len(self._labels)
        parts = []
        done = 0
        for region in self._prepared(network, rung):
            for cut, softmax in region.answers(network.on(rung.device)):
                parts.append((cut.at.to(rung.stitch_on), softmax.to(rung.stitch_on)))
                done += len(cut.at)
                self._on_done(number, done / self._wanted.count)
        answer = torch.empty(self._mean.shape, dtype=torch.float32, device=rung.stitch_on)
        for at, softmax in parts:
            answer[at] = softmax
        labels = answer.argmax(dim=1).to(torch.uint8).cpu()
        self._mean = self._mean.to(rung.stitch_on)
        self._mean.lerp_(answer, 1.0 / (number + 1))
        self._labels.append(labels)

    def let_go(self) -> None:
        """Give back what is needed to see with further networks; what was found stays."""
        self._regions.clear()

    def where(self, rows: Callable[[torch.Tensor], torch.Tensor]) -> npt.NDArray[np.bool_]:
        """Return the grid's voxels that `rows` picks out of the mean (n, classes)."""
        picked = np.zeros(self._grid.hu_zyx.shape, dtype=np.bool_)
        self._wanted.put(picked, rows(self._mean).cpu().numpy())
        return picked

    def write_onto(self, probabilities_czyx: npt.NDArray[np.float32], labels_mzyx: npt.NDArray[np.uint8]) -> None:
        """Write mean and members' labels over what stands at the wanted voxels."""
        for channel, mean in zip(probabilities_czyx, self._mean.cpu().numpy().T, strict=True):
            self._wanted.put(channel, mean)
        for member, labels in zip(labels_mzyx, self._labels, strict=True):
            self._wanted.put(member, labels.numpy())

    def _prepared(self, network: FoldedDeepMedic, rung: Rung) -> tuple[Region, ...]:
        """Lay the regions for a rung, once for all members."""
        if rung not in self._regions:
            self._regions[rung] = tuple(
                Region.of(
                    windows, self._wanted, self._grid, hu_window=self._hu_window, network=network, device=rung.device
                )
                for windows in (self._groups(rung) if self._wanted.count else ())
            )
        return self._regions[rung]
