"""A trained slice classifier as a folder that the registry takes: one map of it, with the threshold chosen for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from models.networks.swin_classifier import NAME
from models.registry import CARD_FILE, MANIFEST_FILE, SPEC_FILE
from models.spec import FileSpec, ModelSpec, load_spec
from models.training.entry import write_weights
from models.training.slice_card import slice_card
from models.training.spec import intended_use_of
from models.vocabulary import label_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.training.checkpoint import Weights
    from models.training.data.licence import Licence
    from models.training.manifest import Manifest
    from models.training.map_threshold import ChosenThreshold
    from models.training.slice_recipe import SliceRecipe


def write_slice_entry(
    folder: Path, recipe: SliceRecipe, members: Sequence[Weights], threshold: ChosenThreshold, manifest: Manifest
) -> ModelSpec:
    """Write the folder, one member for each seed; return the spec as read back."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        write_weights(folder / f"member_{number}.safetensors", weights)
        for number, weights in enumerate(members, start=1)
    ]
    spec = _spec(recipe, threshold, files, manifest.licence)
    (folder / SPEC_FILE).write_bytes(TypeAdapter(ModelSpec).dump_json(spec, indent=1) + b"\n")
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    (folder / CARD_FILE).write_text(slice_card(spec, recipe, threshold, manifest), encoding="utf-8")
    return load_spec(folder / SPEC_FILE)


def _spec(recipe: SliceRecipe, threshold: ChosenThreshold, files: Sequence[FileSpec], licence: Licence) -> ModelSpec:
    seen = recipe.classifier
    return ModelSpec(
        name=recipe.name,
        version=recipe.version,
        family="slice-maps",
        title=recipe.title or f"{recipe.name} ({recipe.map} of a {NAME})",
        intended_use=intended_use_of(licence),
        licence=licence.name,
        source="trained by `ichor train` on slice labels",
        research_only=True,
        spacing_zyx_mm=seen.spacing_zyx_mm,
        hu_window=(min(low for low, _ in seen.hu_windows), max(high for _, high in seen.hu_windows)),
        labels=(label_named("ICH", 1),),
        files=tuple(files),
        parameters={
            "network": NAME,
            "network_parameters": recipe.network_parameters,
            "side": seen.side,
            "hu_windows": [list(one) for one in seen.hu_windows],
            "map": recipe.map,
            "threshold": threshold.value,
        },
    )
