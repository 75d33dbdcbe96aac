"""The seam between the node and its models: a head on a grid goes in, probabilities come out.

Importing this module costs no torch; engines implement `Segmenter`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from models.spec import ModelSpec

Precision = Literal["float32", "bfloat16"]

OUTSIDE_HU = -1024.0
"""The HU that a HeadGrid holds outside the scan: air."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadGrid:
    """A head on an orthogonal grid: z from foot to head, y from front to back, x from the patient's right to left."""

    hu_zyx: npt.NDArray[np.float32]  # OUTSIDE_HU outside the scan
    spacing_zyx_mm: tuple[float, float, float]
    scanned_zyx: npt.NDArray[np.bool_]  # True inside the scan

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if self.hu_zyx.ndim != 3 or self.hu_zyx.shape != self.scanned_zyx.shape:
            raise ValueError(
                f"HU {self.hu_zyx.shape} and scanned {self.scanned_zyx.shape} must be equal, with three axes"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run, resolved: part of a result's identity. The device is not, nor are threads."""

    model: str
    model_digest: str
    members: tuple[int, ...]  # counted from 1, ascending
    precision: Precision
    engine: str  # name and revision of the code that decides the numbers, such as "deepmedic-windows-1"

    @property
    def digest(self) -> str:
        """SHA-256 over the plan as canonical JSON, in hex."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """What an ensemble says about a head."""

    probabilities_czyx: npt.NDArray[
        np.float32
    ]  # mean of the members' softmax; channel 0 is background, 1 where not computed
    member_labels_mzyx: npt.NDArray[np.uint8]  # each member's own argmax, background where not computed
    voxel_ml: float
    plan: Plan
    device: str
    seconds_per_member: tuple[float, ...]
    fallbacks: tuple[str, ...] = ()  # what was given up since memory was short, in words, in order

    @property
    def member_volumes_ml(self) -> npt.NDArray[np.float64]:
        """(members, labels): voxels of each member's own argmax, as volume."""
        classes = range(1, self.probabilities_czyx.shape[0])
        counts = [[np.count_nonzero(labels == index) for index in classes] for labels in self.member_labels_mzyx]
        return np.array(counts, dtype=np.float64).reshape(len(counts), len(classes)) * self.voxel_ml


class Segmenter(Protocol):
    """A loaded model, ready to run; not safe for use from several threads at once."""

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""

    @property
    def plan(self) -> Plan:
        """What `segment` runs."""

    @property
    def device(self) -> str:
        """Where it runs, such as `cpu` or `cuda:0`."""

    def warm(self) -> None:
        """Run once on nothing, so that the first study finds everything loaded and compiled."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment a head whose grid has the spec's spacing; `on_progress` gets the fraction done, from 0 to 1."""
