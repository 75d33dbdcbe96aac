"""A trained model as a folder that the registry takes: `model.json`, safetensors, card and manifest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from safetensors.torch import save_file

from models.registry import CARD_FILE, MANIFEST_FILE, SPEC_FILE
from models.spec import FileSpec, ModelSpec, load_spec
from models.training.card import model_card
from models.training.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.training.checkpoint import Weights
    from models.training.manifest import Manifest
    from models.training.recipe import Recipe


def write_weights(path: Path, weights: Weights) -> FileSpec:
    """Write safetensors; return what a spec says of the file."""
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    content = path.read_bytes()
    return FileSpec(name=path.name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def write_entry(folder: Path, recipe: Recipe, members: Sequence[Weights], manifest: Manifest) -> ModelSpec:
    """Write the folder, one member for each seed; return the spec as read back."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        write_weights(folder / f"member_{number}.safetensors", weights)
        for number, weights in enumerate(members, start=1)
    ]
    spec = spec_of(recipe, files=files, licence=manifest.licence)
    (folder / SPEC_FILE).write_bytes(TypeAdapter(ModelSpec).dump_json(spec, indent=1) + b"\n")
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(spec, manifest), encoding="utf-8")
    return load_spec(folder / SPEC_FILE)
