"""A model that costs nothing and marks nothing: a real network of a few weights, for tests of what comes before it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.networks.catalogue import build
from models.registry import SHIPPED_SPECS, SPEC_FILE

NAME = "quiet"
PARAMETERS = {"classes": 5, "channels": [1, 1]}


def write_quiet_model(models_dir: Path) -> str:
    """Write spec and weights as an added model; give its name."""
    folder = models_dir / NAME
    folder.mkdir(parents=True)
    network = build("phantom-unet", PARAMETERS)
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    state["head.bias"] = torch.tensor([9.0, 0.0, 0.0, 0.0, 0.0])  # background, whatever is seen
    weights = folder / "quiet.safetensors"
    save_file(state, weights)
    spec = json.loads((SHIPPED_SPECS / "phantom-demo.json").read_text(encoding="utf-8"))
    spec["name"], spec["spacing_zyx_mm"] = NAME, [8.0, 6.0, 6.0]
    spec["parameters"] |= {"network_parameters": PARAMETERS, "window_zyx": [16, 32, 32]}
    content = weights.read_bytes()
    spec["files"] = [
        {"name": weights.name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), "url": ""}
    ]
    (folder / SPEC_FILE).write_text(json.dumps(spec), encoding="utf-8")
    return NAME
