"""How well a network does on scans that it was not trained on, seen as in service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.engines.loading import network_of
from models.engines.sliding_window import SlidingWindowSegmenter
from models.evaluation.overlap import Overlap, overlap_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from models.segmenter import Precision
    from models.spec import ModelSpec
    from models.training.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Dice on the model's grid; `dice` is of any haemorrhage over all scans' voxels together, empty scans included."""

    dice: float
    dice_by_label: dict[str, float | None]  # the same for each label; None where neither truth nor answer has it


def validate(spec: ModelSpec, network: nn.Module, samples: Sequence[Sample], precision: Precision) -> Score:
    """Run a copy of the spec's network over samples, with the engine that serves it.

    A copy, for the engine lays weights out as it likes.
    """
    device = next(network.parameters()).device
    served = network_of(spec)
    served.load_state_dict(network.state_dict())
    segmenter = SlidingWindowSegmenter(spec, [served.eval()], members=(1,), precision=precision, device=device)
    blood = [label.index for label in spec.haemorrhage_labels]
    any_blood = Overlap(both=0, truth_only=0, answer_only=0)
    by_label = {label.name: any_blood for label in spec.labels}
    for sample in samples:
        said = segmenter.segment(sample.grid(spec.spacing_zyx_mm)).probabilities_czyx.argmax(axis=0)
        true = np.asarray(sample.labels_zyx)
        any_blood += overlap_of(np.isin(said, blood), np.isin(true, blood))
        for label in spec.labels:
            by_label[label.name] += overlap_of(said == label.index, true == label.index)
    return Score(
        dice=any_blood.dice(empty="one"),
        dice_by_label={name: one.dice(empty="none") for name, one in by_label.items()},
    )
