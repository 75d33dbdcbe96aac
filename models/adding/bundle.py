"""A MONAI bundle: its network, transforms and inferer are read as data; nothing that it says is ever evaluated.

Only what is known to give the same labels is taken: a network of `models.networks.monai_networks`, transforms that
turn, resample and scale, a SlidingWindowInferer, softmax or argmax behind it. An expression (`$...`) is code, so a
bundle that holds one is refused; with `drop_expressions` those in sections that are not read here are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.adding.bundle_transforms import BundleTransforms
from models.adding.description import NOT_STATED
from models.adding.draft import Draft
from models.adding.package import ModelRefused, read_json
from models.adding.tensors import read_tensors
from models.networks.hu_windows import behind_windows_name
from models.networks.monai_networks import network_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from models.adding.description import Description

METADATA, INFERENCE = "configs/metadata.json", "configs/inference.json"
WEIGHTS = ("models/model.safetensors", "models/model.pt", "models/model.pth")
POSTPROCESSING = frozenset({"Activationsd", "AsDiscreted", "Invertd", "SaveImaged", "EnsureTyped", "Compose"})
_HIDDEN = frozenset({"_desc_", "_target_"})


def is_bundle(folder: Path) -> bool:
    """Whether a folder looks like a MONAI bundle."""
    return (folder / "configs").is_dir() and (folder / METADATA).is_file()


def read_bundle(folder: Path, description: Description, *, drop_expressions: bool = False) -> Draft:
    """Read a bundle; raise ModelRefused where it holds code or what is not known to give the same labels."""
    metadata, config = read_json(folder / METADATA), read_json(folder / INFERENCE)
    if not drop_expressions:
        _refuse_expressions(config, "inference.json")
    _refuse_expressions(metadata, "metadata.json")
    sections = {
        name: _resolved(_section(config, *keys), config, name)
        for name, keys in (
            ("network", ("network_def", "network")),
            ("preprocessing", ("preprocessing",)),
            ("inferer", ("inferer",)),
        )
    }
    if "postprocessing" in config:
        _check_postprocessing(_resolved(config["postprocessing"], config, "postprocessing"))
    network = sections["network"]
    transforms = BundleTransforms([(_kind(one), one) for one in _transforms(sections["preprocessing"])])
    windows = transforms.hu_windows
    names = _channel_names(metadata, channels=max(1, len(windows)))
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelRefused(f"The bundle has no weights: none of {', '.join(WEIGHTS)}.")
    name = str(metadata.get("name") or folder.name)
    return Draft(
        family="bundle",
        name=name,
        version=str(metadata.get("version", "1")),
        title=name,
        licence=str(metadata.get("license") or metadata.get("copyright") or NOT_STATED),
        source=f"MONAI bundle {name}",
        spacing_zyx_mm=transforms.spacing_zyx_mm,
        hu_window=transforms.hu_window,
        labels=description.labels_of(names),
        parameters={
            "network": network_name(_target(network)),
            "network_parameters": _arguments(network) | _seen(transforms),
            "orientation": transforms.orientation,
            "scaling": transforms.scaling,
            "everywhere": True,
            **_windows(sections["inferer"]),
        },
        members=({behind_windows_name(name) if windows else name: one for name, one in read_tensors(weights).items()},),
    )


def _seen(transforms: BundleTransforms) -> dict[str, Any]:
    """Return what is said of several HU windows beside a network's arguments."""
    if not transforms.hu_windows:
        return {}
    return {"hu_range": list(transforms.hu_window), "hu_windows": [list(one) for one in transforms.hu_windows]}


def _strings(plain: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(plain, str):
        yield path, plain
    elif isinstance(plain, dict):
        for key, value in plain.items():
            yield from _strings(value, f"{path}.{key}" if path else str(key))
    elif isinstance(plain, list):
        for number, value in enumerate(plain):
            yield from _strings(value, f"{path}[{number}]")


def _refuse_expressions(plain: Any, where: str) -> None:
    for path, text in _strings(plain, ""):
        if text.lstrip().startswith("$"):
            raise ModelRefused(
                f"The bundle's {where} holds an expression at {path}: that is code, and it was not run. "
                f"Write plain values there, or leave such sections out with --drop-expressions."
            )


def _section(config: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if key in config:
            return config[key]
    raise ModelRefused(f"The bundle's inference.json has no section {keys[0]}.")


def _resolved(plain: Any, config: Mapping[str, Any], where: str, depth: int = 0) -> Any:
    """Replace references to plain values (`@name`, `@name::key`); refuse what would be code or another file."""
    if depth > 20:
        raise ModelRefused(f"The bundle's {where} refers to itself.")
    if isinstance(plain, dict):
        return {key: _resolved(value, config, where, depth + 1) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_resolved(value, config, where, depth + 1) for value in plain]
    if not isinstance(plain, str):
        return plain
    if plain.lstrip().startswith(("$", "%")):
        raise ModelRefused(f"The bundle's {where} holds the expression {plain!r}: that is code, and it was not run.")
    if not plain.startswith("@"):
        return plain
    if where == "postprocessing":
        return plain  # such as Invertd's reference to the transforms, which are undone by place here
    found: Any = config
    for key in plain[1:].replace("#", "::").split("::"):
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            raise ModelRefused(f"The bundle's {where} refers to {plain!r}, which is not there.")
    return _resolved(found, config, where, depth + 1)


def _target(component: Any) -> str:
    if not isinstance(component, dict) or not isinstance(component.get("_target_"), str):
        raise ModelRefused("A part of the bundle's inference.json has no _target_.")
    extra = [key for key in component if key.startswith("_") and key not in _HIDDEN]
    if extra:
        raise ModelRefused(f"The bundle's {component['_target_']} uses {extra[0]}, which is not supported.")
    return str(component["_target_"])


def _kind(component: Any) -> str:
    return _target(component).rpartition(".")[2]


def _arguments(component: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {key: value for key, value in component.items() if not key.startswith("_")}
    for path, _ in ((path, text) for path, text in _keys(arguments) if text == "_target_"):
        raise ModelRefused(f"The bundle's network is given an object to build at {path}: only plain values are taken.")
    return arguments


def _keys(plain: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield path, str(key)
            yield from _keys(value, f"{path}.{key}" if path else str(key))
    elif isinstance(plain, list):
        for number, value in enumerate(plain):
            yield from _keys(value, f"{path}[{number}]")


def _transforms(preprocessing: Any) -> list[dict[str, Any]]:
    if isinstance(preprocessing, dict) and _kind(preprocessing) == "Compose":
        preprocessing = preprocessing.get("transforms")
    if not isinstance(preprocessing, list):
        raise ModelRefused("The bundle's preprocessing is not a list of transforms.")
    return preprocessing


def _windows(inferer: Any) -> dict[str, Any]:
    if _kind(inferer) != "SlidingWindowInferer":
        raise ModelRefused(
            f"The bundle's inferer {_target(inferer)} is not supported: it must be SlidingWindowInferer."
        )
    if inferer.get("padding_mode", "constant") != "constant" or inferer.get("sigma_scale", 0.125) != 0.125:
        raise ModelRefused("The bundle's inferer must pad with a constant and blend with a sigma_scale of 0.125.")
    return {
        "window": inferer.get("roi_size"),
        "overlap": inferer.get("overlap", 0.25),
        "blend": inferer.get("mode", "constant"),
        "padding": inferer.get("cval", 0.0),
    }


def _check_postprocessing(postprocessing: Any) -> None:
    for transform in _transforms(postprocessing):
        kind = _kind(transform)
        if kind not in POSTPROCESSING:
            raise ModelRefused(f"The bundle's postprocessing {kind} is not supported: labels would differ.")
        if transform.get("sigmoid") is True or transform.get("threshold") is not None:
            raise ModelRefused("The bundle marks by threshold, not by the largest channel: that is not supported.")


def _channel_names(metadata: Mapping[str, Any], *, channels: int) -> dict[int, str]:
    try:
        data_format = metadata["network_data_format"]
        answer = data_format["outputs"]["pred"]["channel_def"]
        inputs = data_format["inputs"]["image"].get("num_channels", 1)
        names = {int(index): str(name) for index, name in answer.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelRefused("The bundle's metadata.json does not say what its channels are (channel_def).") from error
    if inputs != channels:
        raise ModelRefused(f"The bundle wants {inputs} channels; a CT has {channels} in the windows that it names.")
    if "background" not in names.pop(0, "").lower():
        raise ModelRefused("Channel 0 of the bundle must be the background.")
    return names
