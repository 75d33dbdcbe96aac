"""The label maps of a command line: for truth, for answers, or for both."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.evaluation.label_map import BINARY, LABEL_MAPS, LabelMap, label_map_of, parse_label_map
from models.registry import default_registry
from worker.output.words import short_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ichor.settings import Settings
    from models.spec import ModelSpec

_TRUTH, _ANSWER = "truth=", "pred="


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChoice:
    """What the masks' numbers mean; `segment_values` gives a number to each segment label of a SEG, where known."""

    truth: LabelMap = BINARY
    answer: LabelMap = BINARY
    segment_values: Mapping[str, int] | None = None
    truth_segment_values: Mapping[str, int] | None = None


def choose_labels(texts: Sequence[str], settings: Settings) -> LabelChoice:
    """Read the options in order; one without `truth=` or `pred=` is for both."""
    truth, answer = LabelChoice(), LabelChoice()
    for text in texts:
        if text.startswith(_TRUTH):
            truth = _choice(text.removeprefix(_TRUTH), settings)
        elif text.startswith(_ANSWER):
            answer = _choice(text.removeprefix(_ANSWER), settings)
        else:
            truth = answer = _choice(text, settings)
    return LabelChoice(
        truth=truth.truth,
        answer=answer.answer,
        segment_values=answer.segment_values,
        truth_segment_values=truth.segment_values,
    )


def labels_of(spec: ModelSpec) -> LabelChoice:
    """Return what a model's masks and segmentations mean."""
    found = label_map_of(spec)
    return LabelChoice(
        truth=found, answer=found, segment_values={short_title(label.title): label.index for label in spec.labels}
    )


def _choice(text: str, settings: Settings) -> LabelChoice:
    registry = default_registry(settings.resolved_models_dir, os.environ)
    if text in LABEL_MAPS or text not in registry.names():
        found = parse_label_map(text)
        return LabelChoice(truth=found, answer=found)
    return labels_of(registry.spec(text))
