"""What a data set's masks teach a model: the channel of every value, or why they cannot.

A bleed that no label of the model stands for would be taught as healthy, so it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.evaluation.label_map import ANY, BLEEDS, OEDEMA, class_of
from models.training.recipe import RecipeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.evaluation.label_map import LabelMap
    from models.spec import LabelSpec


def channels_of(label_map: LabelMap, labels: Sequence[LabelSpec], data: str) -> Mapping[int, int]:
    """Return the model's channel by mask value; raise RecipeInvalid where the masks cannot teach these labels."""
    channels: dict[int, int] = {}
    for label in labels:
        name = class_of(label)
        if name not in BLEEDS and name != OEDEMA:
            raise RecipeInvalid(f"labels: no data set marks {label.name!r}; there are {', '.join(BLEEDS)} and oedema.")
        found = _oedema(label_map) if name == OEDEMA else label_map.values_of(name)
        if not found:
            raise RecipeInvalid(f"labels: the masks of {data} ({label_map.name}) do not tell {label.name} apart.")
        twice = found & channels.keys()
        if twice:
            raise RecipeInvalid(f"labels: {label.name} and another label both stand for the value {min(twice)}.")
        channels |= dict.fromkeys(sorted(found), label.index)
    unknown = sorted(name for value, name in label_map.classes if name != OEDEMA and value not in channels)
    if unknown:
        wanted = " ".join("ICH" if name == ANY else name for name in unknown)
        raise RecipeInvalid(f"labels: {data} marks {wanted}, which would be taught as healthy.")
    return channels


def _oedema(label_map: LabelMap) -> frozenset[int]:
    return frozenset(value for value, name in label_map.classes if name == OEDEMA)
