"""A model of the registry as a MONAI bundle, for those who have MONAI and not Ichor.

Only a network that is a class of MONAI's, with one member, can be said in a bundle without code; any other is refused.
 Ichor's own way with the model stands in `ichor.json` beside it, so that `ichor models add` gives the
same labels again. MONAI looks everywhere, Ichor only where intracranial tissue can be.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ichor.errors import ModelError
from models.adding.bundle import INFERENCE, METADATA
from models.adding.description import DESCRIPTION_FILE
from models.adding.package import ModelRefused
from models.adding.tensors import read_tensors
from models.engines.preparation import GRID_ORIENTATION, Preparation
from models.engines.window_plan import WindowPlan
from models.networks.attention_unet import attention_unet_arguments
from models.networks.dynunet_r import dynunet_r_arguments
from models.networks.hu_windows import own_name, without_windows
from models.networks.monai_networks import build_monai
from models.networks.phantom_unet import as_dynunet
from models.networks.swin_unetr import swin_unetr_arguments
from models.networks.unet_3d import unet_3d_arguments
from models.registry import CARD_FILE, MANIFEST_FILE, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.registry import Registry
    from models.spec import ModelSpec

_MONAI: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "attention-unet": ("AttentionUnet", attention_unet_arguments),
    "dynunet-r": ("DynUNet", dynunet_r_arguments),
    "swin-unetr": ("SwinUNETR", swin_unetr_arguments),
    "unet-3d": ("DynUNet", unet_3d_arguments),
}
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema.json"
_DOCS = {CARD_FILE: "docs/README.md", MANIFEST_FILE: "docs/manifest.json"}


def write_bundle(registry: Registry, name: str, out: Path, *, member: int | None = None) -> ModelSpec:
    """Write a model into a folder that must not exist yet; return its spec.

    Raises ModelRefused where a bundle cannot say what the model does, or where it has members and none is chosen.
    """
    spec = registry.spec(name)
    chosen = _member(spec, member)
    folder = registry.locate(name)
    weights = folder / spec.files[chosen - 1].name
    verify(weights, spec.files[chosen - 1])
    if out.exists():
        raise ModelRefused(f"There is {out} already.")
    kind, arguments, state = _network(spec, read_tensors(weights))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=out.parent) as scratch:
        new = Path(scratch) / "bundle"
        for inner in ("configs", "models", "docs"):
            (new / inner).mkdir(parents=True)
        torch.save(state, new / "models" / "model.pt")
        _write_json(new / METADATA, _metadata(spec))
        _write_json(new / INFERENCE, _inference(spec, {"_target_": kind, **arguments}))
        _write_json(new / DESCRIPTION_FILE, _description(spec))
        for own, there in _DOCS.items():
            if (folder / own).is_file():
                shutil.copyfile(folder / own, new / there)
        new.rename(out)
    return spec


def _member(spec: ModelSpec, member: int | None) -> int:
    if member is None and len(spec.files) > 1:
        raise ModelRefused(
            f"A bundle holds one network, and {spec.name} has {len(spec.files)} members: say --member N."
        )
    chosen = 1 if member is None else member
    if chosen not in spec.members:
        raise ModelRefused(f"{spec.name} has the members 1 to {len(spec.files)}, not {chosen}.")
    return chosen


def _network(
    spec: ModelSpec, state: Mapping[str, torch.Tensor]
) -> tuple[str, dict[str, Any], Mapping[str, torch.Tensor]]:
    """Return MONAI's class, its arguments and its weights, tried."""
    name, said = str(spec.parameters.get("network")), spec.parameters.get("network_parameters", {})
    parameters = without_windows(said)
    if "hu_windows" in said:
        state = {own_name(key): value for key, value in state.items()}
    if spec.family not in {"zoo", "bundle"}:
        raise ModelRefused(f"{spec.name} is of the family {spec.family}, which is no bundle of MONAI's.")
    unsaid = [key for key in ("answer_hu", "flips", "mirror_image") if spec.parameters.get(key)]
    if unsaid or spec.parameters.get("tiling", "monai") != "monai":
        raise ModelRefused(f"{spec.name} is served with {(*unsaid, 'tiling')[0]}, which a bundle cannot say.")
    if parameters.get("subpixel", 1) != 1:
        raise ModelRefused(f"{spec.name} takes blocks of voxels as channels (`subpixel`), as no class of MONAI's does.")
    if spec.family == "bundle":
        kind, arguments = name, dict(parameters)
    elif name == "phantom-unet":
        kind = "DynUNet"
        arguments, state = as_dynunet(parameters, state)
    elif name in _MONAI:
        kind, told = _MONAI[name]
        arguments = told(parameters)
    else:
        raise ModelRefused(f"The network {name} is no class of MONAI's: a bundle cannot name it.")
    arguments = json.loads(json.dumps(arguments))  # as the bundle will say it
    network = build_monai(kind, arguments)
    try:
        missing, unexpected = network.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise ModelError(f"The weights of {spec.name} do not fit MONAI's {kind}.") from error
    # DynUNet holds its blocks under two names
    if unexpected or any(not key.startswith("skip_layers.") for key in missing):
        raise ModelError(f"The weights of {spec.name} do not fit MONAI's {kind}.")
    return kind, arguments, network.state_dict()


def _inference(spec: ModelSpec, network: dict[str, Any]) -> dict[str, Any]:
    preparation, windows = Preparation.from_spec(spec), WindowPlan.from_parameters(spec.parameters)
    return {
        "image_key": "image",
        "network_def": network,
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
                {"_target_": "Orientationd", "keys": "@image_key", "axcodes": preparation.orientation},
                {
                    "_target_": "Spacingd",
                    "keys": "@image_key",
                    "pixdim": preparation.in_network_order(spec.spacing_zyx_mm),
                    "mode": "bilinear",
                },
                *_scaling(spec),
                {"_target_": "EnsureTyped", "keys": "@image_key"},
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(windows.window),
            "sw_batch_size": 1,
            "overlap": windows.overlap,
            "mode": windows.blend,
            "padding_mode": "constant",
            "cval": windows.padding,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            ],
        },
    }


def _scaling(spec: ModelSpec) -> list[dict[str, Any]]:
    """Return what scales HU: one transform, or one for each window, the image copied before and joined behind."""
    windows = _windows_of(spec)
    if not windows:
        return [{"_target_": "ScaleIntensityRanged", "keys": "@image_key", **_scale(spec)}]
    names = [f"window_{number}" for number in range(1, len(windows) + 1)]
    return [
        {"_target_": "CopyItemsd", "keys": "@image_key", "times": len(names), "names": names},
        *(
            {"_target_": "ScaleIntensityRanged", "keys": name, **_to_unit(low, high)}
            for name, (low, high) in zip(names, windows, strict=True)
        ),
        {"_target_": "ConcatItemsd", "keys": names, "name": "@image_key", "dim": 0},
    ]


def _windows_of(spec: ModelSpec) -> list[list[float]]:
    """Return the HU windows of a network that sees several; none of one."""
    windows: list[list[float]] = spec.parameters.get("network_parameters", {}).get("hu_windows", [])
    return windows


def _to_unit(low: float, high: float) -> dict[str, Any]:
    return {"a_min": low, "a_max": high, "b_min": -1.0, "b_max": 1.0, "clip": True}


def _scale(spec: ModelSpec) -> dict[str, Any]:
    said = spec.parameters.get("scaling")
    if said is None:
        return _to_unit(*spec.hu_window)
    if said.get("kind") != "range":
        raise ModelRefused(f"{spec.name} scales HU in a way that is not taken from a bundle: {said.get('kind')!r}.")
    (low, high), (to_low, to_high) = said["from"], said["to"]
    return {"a_min": low, "a_max": high, "b_min": to_low, "b_max": to_high, "clip": said.get("clip") is True}


def _metadata(spec: ModelSpec) -> dict[str, Any]:
    window = WindowPlan.from_parameters(spec.parameters).window
    channels = {"0": "background", **{str(label.index): label.name for label in spec.labels}}
    image = {"type": "image", "format": "hounsfield", "modality": "CT", "dtype": "float32"}
    seen = {str(number): f"CT, {low:g} to {high:g} HU" for number, (low, high) in enumerate(_windows_of(spec))}
    seen = seen or {"0": "CT"}
    answer = {"type": "image", "format": "segmentation", "num_channels": len(channels), "dtype": "float32"}
    patch = {"spatial_shape": list(window), "value_range": [-1, 1], "is_patch_data": True}
    return {
        "schema": _SCHEMA,
        "name": spec.name,
        "version": spec.version,
        "changelog": {spec.version: f"exported from Ichor, spec digest {spec.digest}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "task": "Head CT segmentation",
        "description": f"{spec.title}. {spec.intended_use}",
        "authors": spec.source or "not stated",
        "copyright": spec.licence,
        "intended_use": spec.intended_use,
        "network_data_format": {
            "inputs": {"image": {**image, **patch, "num_channels": len(seen), "channel_def": seen}},
            "outputs": {"pred": {**answer, **patch, "value_range": [0, 1], "channel_def": channels}},
        },
    }


def _description(spec: ModelSpec) -> dict[str, Any]:
    """Return `ichor.json`: what a bundle has no words for."""
    return {
        "name": spec.name,
        "version": spec.version,
        "title": spec.title,
        "intended_use": spec.intended_use,
        "licence": spec.licence,
        "source": spec.source or "not stated",
        "labels": {str(label.index): asdict(label) for label in spec.labels},
        "spacing_zyx_mm": list(spec.spacing_zyx_mm),
        "hu_window": list(spec.hu_window),
        "parameters": {
            "everywhere": spec.parameters.get("everywhere", False),
            "scaling": spec.parameters.get("scaling"),
            "orientation": spec.parameters.get("orientation", GRID_ORIENTATION),
        },
    }


def _write_json(path: Path, plain: dict[str, Any]) -> None:
    path.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
