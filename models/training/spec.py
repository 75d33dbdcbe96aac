"""The spec of a model that a recipe trains: the same while it is validated and when it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.spec import FileSpec, ModelSpec
from models.training.data.licence import PHANTOM, drawn_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.training.data.licence import Licence
    from models.training.recipe import Recipe

RESEARCH_USE = "Research use only. Trained by `ichor train`; not validated for patients."
PHANTOM_USE = (
    "NEVER FOR PATIENTS. Trained on computer-made phantoms alone: it has never seen a human head, and what it says "
    "about one means nothing."
)
PAINTED_USE = (
    "NEVER FOR PATIENTS. Every bleed that it was trained on was drawn by a computer, some into heads of people: what "
    "it says about a real one means nothing."
)

_UNWRITTEN = FileSpec(name="unwritten.safetensors", sha256="0" * 64, size_bytes=1)


def network_parameters(recipe: Recipe) -> dict[str, Any]:
    """Return what `build` is told: the recipe's own parameters, classes, and the windows of the input channels."""
    model = recipe.model
    parameters: dict[str, Any] = {
        **model.network_parameters,
        "classes": len(recipe.labels) + 1,
        "in_channels": len(model.hu_windows) * (2 if model.mirror_image else 1),
    }
    if len(model.hu_windows) > 1:
        parameters["hu_range"] = list(model.hu_range)
        parameters["hu_windows"] = [list(one) for one in model.hu_windows]
    return parameters


def intended_use_of(licence: Licence | None) -> str:
    """Return what a model trained on data of these terms is for: drawn bleeds alone have terms of their own."""
    if licence == PHANTOM:
        return PHANTOM_USE
    return PAINTED_USE if drawn_alone(licence) else RESEARCH_USE


def spec_of(recipe: Recipe, *, files: Sequence[FileSpec] = (_UNWRITTEN,), licence: Licence | None = None) -> ModelSpec:
    """Return the spec; without files it serves validation alone."""
    model = recipe.model
    return ModelSpec(
        name=recipe.name,
        version=recipe.version,
        family="zoo",
        title=recipe.title or f"{recipe.name} ({model.network})",
        intended_use=intended_use_of(licence),
        licence="not stated" if licence is None else licence.name,
        source="trained by `ichor train`",
        research_only=True,
        spacing_zyx_mm=model.spacing_zyx_mm,
        hu_window=model.hu_range,
        labels=recipe.label_specs,
        files=tuple(files),
        parameters={
            "network": model.network,
            "network_parameters": network_parameters(recipe),
            "window": list(model.patch if model.window is None else model.window),
            "overlap": model.overlap,
            "orientation": model.orientation,
            **({"mirror_image": True} if model.mirror_image else {}),
            **({} if recipe.training.loss_hu is None else {"answer_hu": list(recipe.training.loss_hu)}),
        },
    )
