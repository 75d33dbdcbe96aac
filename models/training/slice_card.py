"""The model card of a slice classifier whose map is the segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.training.card import card_head, data_line

if TYPE_CHECKING:
    from models.spec import ModelSpec
    from models.training.manifest import Manifest
    from models.training.map_threshold import ChosenThreshold
    from models.training.slice_recipe import SliceRecipe

_CARD = """{head}
It was trained on labels of slices, not on masks: millilitres of a map are rough.

## What it is
A Swin Transformer, {parameters} parameters, {members} member(s), that says of each slice: {outputs}. Where a slice
shows blood, its `{map}` map above {threshold:g} is what is marked. Spec digest `{digest}`.

## What it was trained on
{data}

Terms of what is made of these data: {licence} ({terms}).
{warnings}
## How it did on the validation scans
The threshold was chosen on {scans} scans with masks, so this figure flatters: Dice of any haemorrhage over all their
voxels {dice:.3f}. Measure on scans that it has never met: `ichor evaluate --model {name} --data DIR`.

Everything else stands in `manifest.json`: recipe, hashes of data and split, the code's commit (`{commit}`).
"""


def slice_card(spec: ModelSpec, recipe: SliceRecipe, threshold: ChosenThreshold, manifest: Manifest) -> str:
    """Return the card."""
    return _CARD.format(
        head=card_head(spec, manifest),
        name=spec.name,
        parameters=f"{manifest.parameters:,}",
        members=len(spec.files),
        outputs=", ".join(f"{one} haemorrhage" if one == "any" else one for one in recipe.outputs),
        map=recipe.map,
        threshold=threshold.value,
        digest=spec.digest,
        data="\n".join(data_line(one) for one in manifest.data),
        licence=manifest.licence.name,
        terms=manifest.licence.terms,
        warnings="".join(f"\n**Warning:** {text}\n" for text in manifest.warnings),
        scans=threshold.scans,
        dice=threshold.dice,
        commit=manifest.commit or "not from a checkout",
    )
