"""Untrained networks in a registry: their answers are noise, so that any difference is seen."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file

from models.engines.loading import network_of
from models.registry import SHIPPED_SPECS, Registry
from models.spec import FileSpec, ModelSpec, load_spec
from tests.models.adding.phantom_scan import SPACING_ZYX_MM


def entry(registry: Registry, name: str, parameters: dict[str, Any], window: list[int], **changes: Any) -> ModelSpec:
    """Put an untrained network into the registry, under the name `some-NAME`."""
    demo = load_spec(SHIPPED_SPECS / "phantom-demo.json")
    spec = replace(
        demo,
        name=f"some-{name}",
        spacing_zyx_mm=SPACING_ZYX_MM,
        hu_window=tuple(parameters.get("hu_range", (-20.0, 120.0))),
        parameters={
            "network": name,
            "network_parameters": {"classes": 5, **parameters},
            "window": window,
            "overlap": 0.25,
            "orientation": "RAS" if name == "dynunet-r" else "SPL",
            **changes,
        },
    )
    torch.manual_seed(7)
    network = network_of(spec)
    if name == "phantom-unet":
        own = network[1] if "hu_windows" in parameters else network  # type: ignore[index]
        own.head.weight.data *= 100  # type: ignore[union-attr,operator]
        own.head.bias.data.zero_()  # type: ignore[union-attr,operator]
    return kept(registry, spec, {key: value.clone() for key, value in network.state_dict().items()})


def kept(registry: Registry, spec: ModelSpec, state: dict[str, torch.Tensor]) -> ModelSpec:
    folder = registry.models_dir / spec.name
    folder.mkdir(parents=True)
    save_file(state, folder / "member_1.safetensors")
    content = (folder / "member_1.safetensors").read_bytes()
    file = FileSpec(name="member_1.safetensors", sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    spec = replace(spec, files=(file,))
    (folder / "model.json").write_bytes(TypeAdapter(ModelSpec).dump_json(spec))
    return spec
