"""A real, deterministic segmenter that costs nothing: the largest compact region between two densities."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from models.segmenter import HeadGrid, Plan, Segmentation
from models.spec import Code, FileSpec, LabelSpec, ModelSpec

HAEMORRHAGE = Code(value="50960005", scheme="SCT", meaning="Hemorrhage")
SPEC = ModelSpec(
    name="threshold",
    version="1",
    family="zoo",
    title="Threshold",
    intended_use="Tests of the node.",
    licence="Apache-2.0",
    research_only=True,
    spacing_zyx_mm=(3.0, 2.0, 2.0),
    hu_window=(0.0, 100.0),
    labels=(
        LabelSpec(
            index=1,
            name="IPH",
            title="Intraparenchymal",
            haemorrhage=True,
            finding=Code(value="274100004", scheme="SCT", meaning="Cerebral hemorrhage"),
            region=Code(value="12738006", scheme="SCT", meaning="Brain"),
            segment_type=HAEMORRHAGE,
            colour_rgb=(220, 20, 60),
        ),
    ),
    files=(FileSpec(name="none.bin", sha256="0" * 64, size_bytes=1),),
)
STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Marks the largest region of 58 to 80 HU that survives an opening; `pause_s` makes it as slow as wanted."""

    pause_s: float = 0.0
    spec: ModelSpec = SPEC
    device: str = "cpu"
    plan: Plan = field(
        default=Plan(model=SPEC.name, model_digest=SPEC.digest, members=(1,), precision="float32", engine="threshold-1")
    )

    def warm(self) -> None:
        """Nothing to load."""

    def segment(self, grid: HeadGrid, *, on_progress: Callable[[float], None] | None = None) -> Segmentation:
        """Segment in ten steps."""
        for step in range(STEPS):
            time.sleep(self.pause_s / STEPS)
            if on_progress is not None:
                on_progress((step + 1) / STEPS)
        smooth = ndimage.uniform_filter(grid.hu_zyx, size=3)
        dense = (smooth > 58) & (smooth < 80) & grid.scanned_zyx
        parts, count = ndimage.label(ndimage.binary_opening(dense, iterations=2))
        marked = np.zeros_like(dense)
        if count:
            marked = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
        probabilities = np.stack([~marked, marked]).astype(np.float32)
        return Segmentation(
            probabilities_czyx=probabilities,
            member_labels_mzyx=marked[None].astype(np.uint8),
            voxel_ml=float(np.prod(grid.spacing_zyx_mm)) / 1000.0,
            plan=self.plan,
            device=self.device,
            seconds_per_member=(self.pause_s,),
        )
